"""Batches that other processes prepare: batch i comes from worker i mod n.

A worker (`--mode=data_service`) runs the input pipeline of the training on images that its own
command names. Every batch is a function of its number, so a training gets from n workers what it
would make itself, in the same order. The workers know nothing of each other: each makes every n-th
batch, from the step on at which the training begins or goes on.

`serve` is the worker's side, `served` the training's. `wire` says how they talk.
"""

import contextlib
import logging
import queue
import re
import socket
import threading

import numpy as np

from simclr_tf import names
from simclr_tf.distribution import wire
from simclr_tf.distribution.service_key import read_key
from simclr_tf.errors import DataError, SettingsError, UserError, first_line
from simclr_tf.stack import tf
from simclr_tf.version import __version__

_LOG = logging.getLogger(__name__)
_CONNECT_SECONDS = 5.0
_GREETING_SECONDS = 60.0  # a worker may be busy with another training
_ALIVE_SECONDS = 5.0  # between two signs of life of a worker that prepares a batch
SILENCE_SECONDS = 60.0  # without a sign of life a worker is given up
_AHEAD = 2  # batches of each worker that wait in the training
_MOST_VISITORS = 64  # connections of a worker at a time
_ADDRESS = re.compile(r"(?:grpc://)?(\[[^\]/\s]+\]|[^/:\s]+):(\d+)")


def addresses_of(text):
    """[(host, port)] of comma-separated host:port, which may begin with grpc://.

    Raises:
        SettingsError: an address has another form, or stands there twice.
    """
    found = []
    for address in (part.strip() for part in text.split(",") if part.strip()):
        match = _ADDRESS.fullmatch(address)
        if not match or not 0 < int(match[2]) <= 65535:
            raise SettingsError(f"data_service={address} is not of the form host:port; give one such as localhost:5050, or several with commas.")  # fmt: skip
        place = match[1].strip("[]"), int(match[2])
        if place in found:
            raise SettingsError(f"data_service names {address} twice; give each worker once.")
        found.append(place)
    return found


def _shown(place):
    return f"{place[0]}:{place[1]}"


def check(text, key_path=""):
    """Greets every worker of the setting `data_service`.

    Args:
        text: the setting; key_path: the setting `service_key`.
    Raises:
        SettingsError: an address or the key cannot be used; DataError: a worker does not answer.
    """
    key = read_key(key_path)
    for place in addresses_of(text):
        _connected(place, key).close()


def _connected(place, key):
    """A greeted wire.Connection to a worker.

    Raises:
        DataError: nothing answers, or something else.
    """
    try:
        opened = socket.create_connection(place, _CONNECT_SECONDS)
    except OSError as error:
        raise DataError(
            f"no data service answers at {_shown(place)} ({error.strerror or error}); start it by "
            "--mode=data_service, then run the same command again."
        ) from error
    connection = wire.Connection(opened)
    try:
        connection.patience(_GREETING_SECONDS)
        connection.greet_as_training(key)
    except (OSError, wire.Refused) as error:
        connection.close()
        reason = str(error) or "it is silent"
        raise DataError(
            f"what answers at {_shown(place)} cannot serve this training ({reason}); give both the "
            "same --service_key and version, then run the same command again."
        ) from error
    return connection


def request_of(mode, settings, source):
    """What a worker needs to make the batches of a training.

    Args:
        mode: its name, such as "pretrain".
        settings: {setting name: value} of the training, without those that are places.
        source: data.source.Source of the training images.
    """
    return {
        "versions": {"simclr_tf": __version__, "tensorflow": tf.__version__},
        "mode": mode,
        "settings": settings,
        "fingerprint": source.fingerprint,
    }


def served(text, key_path, request, batches, share, start_step, source):
    """The batches of a training, prepared by the workers of a service.

    Args:
        text, key_path: the settings `data_service` and `service_key`.
        request: of `request_of`.
        batches: endless tf.data.Dataset that the training would make itself; not read, it says
            what types and shapes the batches have.
        share: data.order.Share of this training.
        start_step: number of the first batch.
        source: data.source.Source of the images; its quarantine gets the bad ones that the workers
            met, and the sentence that ends the run when a worker is lost.
    Returns:
        tf.data.Dataset with the elements of `batches`.
    """
    places = addresses_of(text)
    key = read_key(key_path)
    shape = {name: getattr(share, name) for name in ("batch", "worker", "workers", "replicas")}
    asked = {**request, "share": {**shape, "stride": len(places)}, "ahead": _AHEAD}

    def generate():
        workers = []
        try:
            for number in range(min(len(places), 2**31)):
                step = start_step + number
                place = places[step % len(places)]
                workers.append(_Worker(place, key, {**asked, "start": step}, batches.element_spec))
            step = start_step
            while True:
                worker = workers[(step - start_step) % len(places)]
                for _ in range(share.replicas):
                    batch, bad = worker.next(step)
                    for name, reason in bad:
                        source.quarantine.add(name, reason)
                    yield batch
                step += 1
        except UserError as error:
            source.quarantine.fail(str(error))
        finally:
            for worker in workers:
                worker.close()

    dataset = tf.data.Dataset.from_generator(generate, output_signature=batches.element_spec)
    options = tf.data.Options()
    options.threading.private_threadpool_size = (
        2  # it waits for others, so it takes no shared thread
    )
    return dataset.prefetch(_AHEAD).with_options(options)


class _Worker:
    """One worker, seen from the training: a thread reads ahead what it sends."""

    def __init__(self, place, key, request, spec):
        self._place = place
        self._spec = spec
        self._closed = False
        self._found = queue.Queue(maxsize=_AHEAD)
        self._connection = _connected(place, key)
        self._connection.patience(SILENCE_SECONDS)
        self._connection.send(request)
        threading.Thread(target=self._read, daemon=True).start()

    def next(self, step):
        """(batch of a step, [(name, reason)] of images that could not be used until then).

        Raises:
            DataError: the worker is lost, or says why it cannot go on.
        """
        found = self._found.get()
        if isinstance(found, UserError):
            raise found
        number, batch, bad = found
        if number != step:
            raise DataError(f"the data service at {_shown(self._place)} sent batch {number} instead of {step}; start it again, then run the same command again.")  # fmt: skip
        return batch, bad

    def _read(self):
        try:
            while not self._closed:
                said = self._connection.receive()
                if "alive" not in said:
                    self._put(self._batch_of(said))
        except UserError as error:
            self._put(error)
        except (OSError, wire.Refused, ValueError, TypeError, KeyError) as error:
            silent = isinstance(error, socket.timeout)
            reason = f"silent for {SILENCE_SECONDS:g} s" if silent else first_line(error)
            self._put(
                DataError(
                    f"the data service at {_shown(self._place)} is lost ({reason}); start it again, "
                    "then run the same command again to go on from the last checkpoint."
                )
            )

    def _put(self, found):
        while not self._closed:
            with contextlib.suppress(queue.Full):
                self._found.put(found, timeout=1.0)
                return

    def _batch_of(self, said):
        """(step, batch, bad images) of a message and the tensors behind it."""
        if "error" in said:
            raise DataError(f"the data service at {_shown(self._place)} says: {names.shown(str(said['error']))[:1000]}")  # fmt: skip
        shapes = said["shapes"]
        if set(shapes) != set(self._spec):
            raise wire.Refused("it sends other tensors")
        for name, spec in self._spec.items():
            shape = shapes[name]
            size = float(np.prod(shape, dtype=np.float64)) * spec.dtype.size
            if min(shape, default=0) < 0 or not spec.shape.is_compatible_with(shape) or size > wire.MOST_TENSOR:  # fmt: skip
                raise wire.Refused(f"it sends {name} of shape {shape}")
        batch = {
            name: self._connection.receive_tensor(
                self._spec[name].dtype.as_numpy_dtype, shapes[name]
            )
            for name in sorted(self._spec)
        }
        bad = [(str(name), str(reason)) for name, reason in said["bad"]]
        return int(said["step"]), batch, bad

    def close(self):
        self._closed = True
        self._connection.close()


class Service:
    """A worker: listens, and sends batches to every training that has the key.

    Args:
        bind: address to listen on; port: 0 takes a free one.
        key: bytes of `service_key.read_key`.
        make: function(request dict) -> (data.order.Share, tf.data.Dataset of batches, Source); may
            raise UserError, which the training is told.
    Raises:
        SettingsError: the port cannot be used.
    """

    def __init__(self, bind, port, key, make):
        try:
            found = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
            self._server = socket.create_server(found[4][:2], family=found[0], backlog=_MOST_VISITORS)  # fmt: skip
        except OSError as error:
            raise SettingsError(
                f"cannot listen at {bind}:{port} ({error.strerror}); choose another --port, 0 for any "
                "free one, or another --bind."
            ) from error
        self.address = _shown(self._server.getsockname()[:2])
        self._key = key
        self._make = make
        self._free = threading.Semaphore(_MOST_VISITORS)

    def serve(self):
        """Answers until `close`; each training has a thread of its own."""
        while True:
            try:
                opened, peer = self._server.accept()
            except OSError:
                return
            if not self._free.acquire(blocking=False):
                opened.close()
                continue
            threading.Thread(target=self._answer, args=(opened, peer), daemon=True).start()

    def close(self):
        """Stops listening; trainings that are served lose this worker when the process ends."""
        self._server.close()

    def _answer(self, opened, peer):
        connection = wire.Connection(opened)
        try:
            with _within(_GREETING_SECONDS, connection):
                connection.greet_as_worker(self._key)
            request = connection.receive()
            connection.patience(None)  # a training may take its time between two batches
            _LOG.info("serving a training at %s", _shown(peer[:2]))
            with _signs_of_life(connection):
                self._send_batches(connection, request)
        except UserError as error:
            with contextlib.suppress(OSError):
                connection.send({"error": str(error)})
        except (OSError, wire.Refused):
            pass  # the training ended, or it was none
        except Exception as error:  # a mistake of ours ends one training, not the worker
            _LOG.exception("a training could not be served")
            with contextlib.suppress(OSError):
                connection.send({"error": f"it met an error of the program ({first_line(error)}); its own output says more."})  # fmt: skip
        finally:
            connection.close()
            self._free.release()

    def _send_batches(self, connection, request):
        share, batches, source = self._make(request)
        told = 0
        try:
            for number, batch in enumerate(batches.as_numpy_iterator()):
                bad = list(source.quarantine.reasons.items())
                connection.send(
                    {
                        "step": request["start"] + number // share.replicas * share.stride,
                        "shapes": {name: batch[name].shape for name in batch},
                        "bad": bad[told:],
                    },
                    [batch[name] for name in sorted(batch)],
                )
                told = len(bad)
        except tf.errors.OpError:
            source.quarantine.check()
            raise


@contextlib.contextmanager
def _within(seconds, connection):
    """Around a greeting: closes a connection that takes longer, also one that says byte after byte."""
    timer = threading.Timer(seconds, connection.close)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextlib.contextmanager
def _signs_of_life(connection):
    """Around the work for a training, which may wait long for its first batch."""
    done = threading.Event()

    def tell():
        while not done.wait(_ALIVE_SECONDS):
            try:
                connection.send({"alive": True})
            except OSError:
                return

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        done.set()
