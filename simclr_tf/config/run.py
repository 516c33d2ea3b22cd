"""Where a run lives, on which devices and machines it is executed."""

import dataclasses

from simclr_tf.config.fields import PATH, Section, check_addresses, listed, setting
from simclr_tf.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class Run(Section):
    """Where a run lives and how it is executed."""

    model_dir: str = setting("", "Run folder for checkpoints, logs and results. The same command again resumes the run.", basic=True, free=True, path=PATH)  # fmt: skip
    seed: int = setting(0, "Seed of every random choice.", basic=True, minimum=0, maximum=2**31 - 1)
    deterministic: bool = setting(False, "Use deterministic kernels: a resumed run equals an uninterrupted one bit for bit.")  # fmt: skip
    dry_run: bool = setting(False, "Print the plan and stop.", basic=True, free=True)
    trust_code: bool = setting(False, "Run code that files bring along: the encoder function that a checkpoint names, and the graph of an imported SavedModel that reads or writes files. Without it, such code does not run.", free=True)  # fmt: skip
    precision: str = setting("float32", "Precision of the computation. The loss and the batch statistics are always float32.", basic=True, allowed=("float32", "mixed_bfloat16", "mixed_float16"))  # fmt: skip
    strategy: str = setting("auto", "Devices. auto: all GPUs, else the CPU; default: one device; mirrored: all GPUs or logical CPUs as replicas.", allowed=("auto", "default", "mirrored"))  # fmt: skip
    logical_cpus: int = setting(0, "Split the CPU into this many logical devices, to try --strategy=mirrored without GPUs; 0 does not split it.", minimum=0, maximum=64)  # fmt: skip
    use_tpu: bool = setting(False, "Run on a TPU.", basic=True)
    tpu_name: str = setting("local", "Name or grpc:// address of a Cloud TPU; local on a TPU VM and in Colab.", free=True)  # fmt: skip
    tpu_zone: str = setting("", "Zone of the Cloud TPU, if it is not the default one.", free=True)
    gcp_project: str = setting("", "Project of the Cloud TPU, if it is not the default one.", free=True)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Workers(Section):
    """Several machines, or processes, that train together."""

    workers: str = setting("", "host:port of every process of the run, comma-separated, the chief first. Start the same command on each. The environment variable TF_CONFIG may say it instead.", free=True)  # fmt: skip
    worker_index: int = setting(-1, "Position of this process in --workers. Worker 0 is the chief, which writes the run folder.", minimum=-1, free=True)  # fmt: skip
    workers_wait: int = setting(600, "Seconds to wait at the start for all workers.", minimum=1, maximum=86400, free=True)  # fmt: skip
    bind: str = setting("", "Address on which this process waits for the other workers, such as 0.0.0.0 for all networks. The default is its own address of --workers.", free=True)  # fmt: skip

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
    """A tf.data service: a dispatcher, and workers that read the images of the training."""

    role: str = setting("dispatcher", "dispatcher: the process that trainings connect to; worker: a process that prepares batches for one dispatcher.", basic=True, allowed=("dispatcher", "worker"))  # fmt: skip
    port: int = setting(5050, "Port to listen on; 0 takes a free port and prints it.", basic=True, minimum=0, maximum=65535)  # fmt: skip
    dispatcher: str = setting("", "For a worker: the address of its dispatcher, such as grpc://host:5050.", basic=True)  # fmt: skip
    worker_address: str = setting("", "For a worker: host:port at which the training reaches it. Empty: localhost, for a training on this machine.", basic=True)  # fmt: skip
    bind: str = setting("", "0.0.0.0 starts the server. It listens on every network of this machine, without a password, and runs any graph that it is sent; a firewall must protect --port.", allowed=("", "0.0.0.0"))  # fmt: skip

    def check(self):
        if self.role == "worker" and not self.dispatcher:
            raise SettingsError("role=worker needs the address of its dispatcher; give --dispatcher=grpc://host:5050.")  # fmt: skip
