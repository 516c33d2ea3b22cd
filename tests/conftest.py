"""Four logical CPU devices, so that distribution is tested on every machine."""

import gc
import os
import signal

import pytest

# Two test processes share two cores: more threads for an operation only get in each other's way,
# most of all those of BLAS, which spin while they wait.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

from tests import reporting


def pytest_addoption(parser):
    reporting.add_options(parser)


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # started in the background by a shell
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.pluginmanager.register(reporting.Reporting(config))
    if reporting.is_leader(config):  # it runs no test
        return
    from simclr_tf.stack import tf

    four = [tf.config.LogicalDeviceConfiguration()] * 4
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], four)
    # a quarter of a tiny training is optimizing its graph; processes that tests start still do it
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    _keep_keras_as_it_is()
    # the objects of TensorFlow's modules stay: a garbage collection need not look at them again
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _keep_keras_as_it_is():
    """Takes `tf_keras` for a library, as later releases of TensorFlow do.

    TensorFlow 2.15 takes it for code of the user and rewrites its functions while it traces them:
    eight seconds for the first `predict` of a process.
    """
    from tensorflow.python.autograph.core import config

    rule = config.DoNotConvert("tf_keras")
    if not any(str(rule) == str(known) for known in config.CONVERSION_RULES):
        config.CONVERSION_RULES = (rule, *config.CONVERSION_RULES)


def pytest_collection_modifyitems(items):
    reporting.longest_first(items)


def mirrored(replicas):
    """A MirroredStrategy over the first logical CPUs."""
    from simclr_tf.distribution import strategy

    return strategy.mirrored([f"CPU:{i}" for i in range(replicas)])


@pytest.fixture(scope="module", autouse=True)
def settings_of_the_process():
    """Precision and determinism that a command chose end with the file that ran it."""
    from simclr_tf.stack import process_kept

    with process_kept():
        yield


def _signals():
    """What this process does at signals: a handler that a test left would end a later test."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return wakeup, [signal.getsignal(number) for number in numbers]


@pytest.fixture(scope="module", autouse=True)
def signals_are_given_back():
    """A file of tests leaves the process with the signal handlers that it found."""
    before = _signals()
    yield
    assert _signals() == before


@pytest.fixture(scope="session")
def two_replicas():
    return mirrored(2)


@pytest.fixture(scope="session")
def four_replicas():
    return mirrored(4)


@pytest.fixture(scope="session")
def launcher():
    """Starts command lines in processes that need no seconds to import TensorFlow."""
    from tests import forking

    with forking.Launcher() as one:
        yield one
