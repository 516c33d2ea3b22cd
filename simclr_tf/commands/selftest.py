"""`--mode=selftest`: runs the checks and prints their table."""

import contextlib
import tempfile
import time

from simclr_tf.commands import pretrain
from simclr_tf.config import listed
from simclr_tf.distribution.strategy import make_strategy
from simclr_tf.errors import SelftestError, SettingsError
from simclr_tf.selftest import checks
from simclr_tf.selftest.all_checks import CHECKS, run_checks, table
from simclr_tf.stack import tf


def run(config, given=frozenset()):
    """Checks this machine.

    Args:
        config: config.Selftest.
        given: not used; every mode has it.
    Returns:
        list of checks.Outcome, all passed.
    Raises:
        SelftestError: a check failed, after the table of all was printed.
        SettingsError: the devices cannot be had.
    """
    del given
    began = time.monotonic()
    wanted = listed(config.selftest.checks) or tuple(CHECKS)
    _check_scratch(config, wanted)
    _split_lonely_cpu(config.run)
    strategy = make_strategy(config.run)
    with _scratch(config.selftest.scratch_dir) as folder:
        job = checks.Job(config.run, strategy, folder, pretrain.run)
        outcomes = run_checks(job, wanted)
    print(table(outcomes), flush=True)
    failed = [outcome.name for outcome in outcomes if not outcome.passed]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} checks passed in {time.monotonic() - began:.0f} s")  # fmt: skip
    if failed:
        raise SelftestError(
            f"{len(failed)} of {len(outcomes)} checks failed ({', '.join(failed)}); do not trust "
            "results of this machine before they pass, and report the table."
        )
    return outcomes


def _check_scratch(config, wanted):
    """The workers of a Cloud TPU cannot write to a temporary folder of this machine."""
    cloud = config.run.use_tpu and config.run.tpu_name not in ("", "local")
    if cloud and "resume" in wanted and not config.selftest.scratch_dir:
        raise SettingsError(
            "the check of resuming needs a folder that a Cloud TPU reaches; give "
            "--scratch_dir=gs://..., or leave resume out of --checks."
        )


def _split_lonely_cpu(run):
    """A CPU alone becomes two logical devices, so that there are replicas to compare."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    chosen = run.use_tpu or run.logical_cpus or run.strategy == "default"
    chosen = chosen or tf.config.get_logical_device_configuration(cpu)
    if chosen or tf.config.list_physical_devices("GPU"):
        return
    with contextlib.suppress(RuntimeError):  # TensorFlow runs already: its one device stays
        two = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, two)


@contextlib.contextmanager
def _scratch(folder):
    """A new folder that is removed at last, in `folder` or wherever the system keeps such."""
    if not folder:
        with tempfile.TemporaryDirectory() as place:
            yield place
        return
    place = f"{folder.rstrip('/')}/simclr_tf_selftest_{time.time_ns()}"
    tf.io.gfile.makedirs(place)
    try:
        yield place
    finally:
        tf.io.gfile.rmtree(place)
