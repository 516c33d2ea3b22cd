"""Where a run lives, on which devices and machines it is executed."""

import dataclasses

from simclr_tf.config.fields import PATH, Section, check_addresses, listed, setting
from simclr_tf.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Run(Section):
    """Where a run lives and how it is executed."""

    model_dir: str = setting("", "Run folder: checkpoints, logs, results. Running the same command again resumes.", free=True, path=PATH)  # fmt: skip
    seed: int = setting(0, "Seed of every random choice.", minimum=0, maximum=2**31 - 1)
    deterministic: bool = setting(False, "Use deterministic kernels: a resumed run equals the uninterrupted one bit for bit.")  # fmt: skip
    dry_run: bool = setting(False, "Print the resolved plan and exit.", free=True)
    precision: str = setting("float32", "Compute precision; the loss and batch statistics stay float32.", allowed=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    strategy: str = setting("auto", "How devices are used; auto takes every GPU, else the CPU.", allowed=("auto", "default", "mirrored"))  # fmt: skip
    logical_cpus: int = setting(0, "Split the CPU into this many logical devices (0: do not), to try --strategy=mirrored without GPUs.", minimum=0, maximum=64)  # fmt: skip
    use_tpu: bool = setting(False, "Run on a TPU.")
    tpu_name: str = setting("local", "Cloud TPU name or grpc:// address; local on a TPU VM and in Colab.", free=True)  # fmt: skip
    tpu_zone: str = setting("", "Zone of the Cloud TPU, if not the default one.", free=True)
    gcp_project: str = setting("", "Project of the Cloud TPU, if not the default one.", free=True)


@dataclasses.dataclass(frozen=True)
class Workers(Section):
    """Several machines, or processes, that train together."""

    workers: str = setting("", "host:port of every process that trains together, the chief first; run the same command on each. Instead of it the environment may hold TF_CONFIG.", free=True)  # fmt: skip
    worker_index: int = setting(-1, "Which of --workers this process is; 0 is the chief, which writes the run folder.", minimum=-1, free=True)  # fmt: skip
    workers_wait: int = setting(600, "Seconds to wait at the start until all workers have come up.", minimum=1, maximum=86400, free=True)  # fmt: skip

    @property
    def addresses(self):
        """Tuple of "host:port"."""
        return listed(self.workers)

    def check(self):
        check_addresses(self.addresses, f"workers={self.workers}")
        if self.worker_index >= max(1, len(self.addresses)) and self.workers:
            raise SettingsError(f"worker_index={self.worker_index} is outside the {len(self.addresses)} workers; give 0 to {len(self.addresses) - 1}.")  # fmt: skip
        if self.workers and self.worker_index < 0:
            raise SettingsError(f"workers={self.workers} is given without worker_index; say which of them this process is, such as --worker_index=0.")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class DataServiceSettings(Section):
    """A tf.data service: a dispatcher and a worker, which sees the files of the training."""

    role: str = setting("dispatcher", "dispatcher: what a training connects to; worker: what prepares the batches, one per dispatcher.", allowed=("dispatcher", "worker"))  # fmt: skip
    port: int = setting(5050, "Where it listens; 0 is any free port, which is printed.", minimum=0, maximum=65535)  # fmt: skip
    dispatcher: str = setting("", "Of a worker: its dispatcher, such as grpc://host:5050.")
    worker_address: str = setting("", "Of a worker: host:port at which the training reaches it (default: localhost, for trainings on this machine).")  # fmt: skip

    def check(self):
        if self.role == "worker" and not self.dispatcher:
            raise SettingsError("role=worker needs the address of its dispatcher; give --dispatcher=grpc://host:5050.")  # fmt: skip
