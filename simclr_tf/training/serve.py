"""`--mode=data_service`: a dispatcher or a worker that prepares batches for trainings elsewhere."""

import signal
import socket
import threading

from simclr_tf.errors import SettingsError
from simclr_tf.stack import tf
from simclr_tf.training.data_service import host_and_port


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
    server, address = start(settings)
    print(f"tf.data service: {settings.role} at {address}", flush=True)
    while not stopped.wait(1.0):  # a wait without end would not hear signals
        pass
    del server


def start(settings):
    """Starts a server.

    Args:
        settings: config.DataServiceSettings.
    Returns:
        (server, which lives as long as it is held; its address grpc://host:port).
    Raises:
        SettingsError: see `run`.
    """
    _check_free(settings.port)
    service = tf.data.experimental.service
    try:
        if settings.role == "dispatcher":
            server = service.DispatchServer(service.DispatcherConfig(port=settings.port))
            return server, server.target
        host, port = host_and_port(settings.dispatcher)
        place = settings.worker_address or f"localhost:{settings.port or '%port%'}"
        server = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=f"{host}:{port}", worker_address=place, port=settings.port
            )
        )
        return server, f"grpc://{server._address}"
    except tf.errors.OpError as error:
        reason = (error.message or type(error).__name__).splitlines()[0]
        raise SettingsError(
            f"the {settings.role} cannot serve ({reason}); check --port and --dispatcher."
        ) from error


def _check_free(port):
    """Refuses a port in use; gRPC would share it with the other process."""
    try:
        with socket.socket() as probe:
            probe.bind(("", port))
    except OSError as error:
        raise SettingsError(
            f"port={port} cannot be used ({error.strerror}); choose another --port, or 0 for any "
            "free one."
        ) from error
