"""`--mode=data_service`: a dispatcher or a worker that prepares batches for trainings elsewhere."""

import logging
import signal
import threading

from simclr_tf.commands import plan
from simclr_tf.distribution.data_service import start_server

_LOG = logging.getLogger(__name__)


def run(config, given=frozenset()):
    """Serves until SIGTERM or Ctrl-C.

    Args:
        config: config.DataService.
        given: names of the settings that the user gave.
    Raises:
        SettingsError: a worker without the address of its dispatcher, or a port in use.
    """
    del given
    settings = config.data_service
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopped.set())
    server, address = start_server(settings)
    print(f"tf.data service: {settings.role} at {address}", flush=True)
    _LOG.warning("whoever reaches this port can read and write your files; it has no password")
    if settings.role == "dispatcher":
        print(plan.next_line(f"data_service --role=worker --dispatcher={address}"), flush=True)
    while not stopped.wait(1.0):  # a wait without end would not hear signals
        pass
    del server
