"""Batches that another process prepares: a tf.data service with one dispatcher and one worker.

The worker runs the same input pipeline, in which every batch is a function of its step, and sends
the batches in order; their numbers are checked, so a training gets what it would make itself or
stops. A second worker would send every batch twice, so it is refused. A job belongs to one
training: a resumed one begins a new job at its step.
"""

import contextlib
import queue
import re
import socket
import threading

from simclr_tf.errors import DataError, SettingsError, UserError, first_line
from simclr_tf.stack import cancellation, tf

SECONDS = 30.0  # for a first answer of a service that can be reached
_CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 10.0  # between two looks at the service of a running training
_AHEAD = 2
_ADDRESS = re.compile(r"grpc://([^/:\s]+):(\d+)")
_EVERY_ELEMENT = "parallel_epochs"  # each worker sends all elements
_OUT_OF_ORDER = "left out or repeated a batch"
_MEANINGS = {
    _OUT_OF_ORDER: f"{_OUT_OF_ORDER}, as a worker that was replaced does; run the same command "
    "again.",
    "Could not find callback": "met an image that cannot be used, or one that Python decodes (GIF, "
    "some BMP, grey PNG below 8 bit); mend it, or leave out --data_service, then it is replaced "
    "and named in quarantine.txt.",
}


def host_and_port(address):
    """(host, port) of grpc://host:port.

    Raises:
        SettingsError: the address has another form.
    """
    found = _ADDRESS.fullmatch(address)
    if not found or int(found[2]) > 65535:
        raise SettingsError(f"the address {address} is not of the form grpc://host:port; give one such as grpc://localhost:5050.")  # fmt: skip
    return found[1], int(found[2])


def prepared_by(address, batches, start_step, source):
    """The same batches in the same order, prepared by the worker of a service that `check` found.

    Args:
        address: grpc://host:port of the dispatcher.
        batches: endless tf.data.Dataset of `input.train_batches`.
        start_step: number of the first batch.
        source: data.source.Source of the images.
    Returns:
        tf.data.Dataset; it raises tf.errors.InvalidArgumentError if a batch is missing.
    Raises:
        SettingsError: the images need Python to be decoded.
    """
    if source.needs_python:
        raise SettingsError(f"data_service={address} cannot decode .npy files, which Python reads in this process; leave it out.")  # fmt: skip
    numbered = batches.enumerate(start_step).apply(_distribute(address))
    start = tf.constant(start_step, tf.int64)
    return numbered.scan(start, _next_in_order).prefetch(_AHEAD)


def _distribute(address):
    return tf.data.experimental.service.distribute(_EVERY_ELEMENT, address)


def _next_in_order(expected, numbered):
    number, batch = numbered
    with tf.control_dependencies([tf.debugging.assert_equal(number, expected, _OUT_OF_ORDER)]):
        return expected + 1, tf.nest.map_structure(tf.identity, batch)


def check(address, seconds=None):
    """Sends one number through the service.

    Args:
        address: grpc://host:port of the dispatcher.
        seconds: to wait for the answer of a worker; SECONDS by default.
    Raises:
        DataError: nothing answers; SettingsError: there are several workers.
    """
    place = host_and_port(address)
    seconds = SECONDS if seconds is None else seconds
    try:
        socket.create_connection(place, _CONNECT_SECONDS).close()
    except OSError as error:
        raise DataError(
            f"no tf.data service answers at {address} ({error.strerror or error}); start it by "
            "--mode=data_service, then run the same command again."
        ) from error
    answers = queue.SimpleQueue()
    threading.Thread(target=_ask, args=(address, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise DataError(
            f"the tf.data service at {address} has no worker that answers within {seconds:g} "
            "seconds; start one by --mode=data_service --role=worker, then run the same command "
            "again."
        ) from None
    if answer != [0]:
        raise SettingsError(
            f"the tf.data service at {address} has {len(answer)} workers, each of which would send "
            "every batch; leave one."
        )


def _ask(address, answers):
    """Puts the numbers that come back for one zero: one from each worker."""
    answers.put([int(n) for n in tf.data.Dataset.range(1).apply(_distribute(address))])


@contextlib.contextmanager
def watched(address):
    """Around a training: ends it in one sentence when its service is gone or sends no batches.

    TensorFlow itself would wait an hour for a lost worker. What the main thread waits for is
    cancelled, as TensorFlow's own cluster coordinator does.

    Args:
        address: grpc://host:port of the dispatcher, or "" for none.
    Raises:
        DataError, SettingsError: see `check`; also an image that cannot be used, and a batch that
            is missing.
    """
    if not address:
        yield
        return
    manager = cancellation.CancellationManager()
    done = threading.Event()
    troubles = []

    def look():
        while not done.wait(_LOOK_SECONDS):
            try:
                check(address)
            except UserError as error:
                troubles.append(error)
                return manager.start_cancel()

    threading.Thread(target=look, daemon=True).start()
    try:
        with cancellation.CancellationManagerContext(manager):
            yield
    except tf.errors.OpError as error:
        if troubles:
            raise troubles[0] from error
        for words, meaning in _MEANINGS.items():
            if words in str(error):
                raise DataError(f"the tf.data service at {address} {meaning}") from error
        raise
    finally:
        done.set()


def start_server(settings):
    """Starts a server.

    Args:
        settings: config.DataServiceSettings.
    Returns:
        (server, which lives as long as it is held; its address grpc://host:port).
    Raises:
        SettingsError: `bind` is not given, the dispatcher cannot be reached, or the port is in use.
    """
    if not settings.bind:
        raise SettingsError(
            "a tf.data server listens on every network of this machine, without a password, and "
            "runs any graph that it is sent, with access to your files; TensorFlow cannot limit it "
            f"to this machine. Close port {settings.port} to others by a firewall or a private "
            "network, then add --bind=0.0.0.0."
        )
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
        raise SettingsError(
            f"the {settings.role} cannot serve ({first_line(error)}); check --port and --dispatcher."
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
