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
    precision: str = setting("float32", "Precision of the computation. The loss and the batch statistics are always float32. auto: mixed_bfloat16 where the device multiplies it (TPU, GPU of compute capability 8, processor with AVX-512 BF16 or AMX), else float32; a resumed run keeps what it began with.", basic=True, allowed=("float32", "mixed_bfloat16", "mixed_float16", "auto"))  # fmt: skip
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
    """A worker that prepares the batches of trainings elsewhere."""

    port: int = setting(5050, "Port to listen on; 0 takes a free port and prints it.", basic=True, minimum=0, maximum=65535)  # fmt: skip
    bind: str = setting("127.0.0.1", "Address to listen on. The default is open to this machine only; 0.0.0.0 is all networks.", basic=True)  # fmt: skip
    service_key: str = setting("", "File with a secret that trainings must have. Empty: the usual file of this user, which is written if it is missing.", basic=True, path=PATH)  # fmt: skip
