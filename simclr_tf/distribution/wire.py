"""What a data service and its training say to each other: lines of JSON, then raw numbers.

Nothing is unpickled. A line has a bounded length, and a tensor has the type and the shape that the
training expects of its own pipeline, so a peer never decides how much memory is taken.
"""

import json
import secrets
import socket
import threading

import numpy as np

from simclr_tf.distribution import service_key

MOST_HELLO = 4096  # bytes of a line before the other side has proved who it is
MOST_LINE = 2**22  # bytes of a line after that
MOST_TENSOR = 2**33  # bytes of a tensor whose shape is not known before
_PROTOCOL = 1


class Refused(Exception):
    """The other side is no simclr_tf data service or training, or has another key."""


class Connection:
    """A socket whose two ends have proved to each other that they have the same key."""

    def __init__(self, connection):
        self._socket = connection
        self._file = connection.makefile("rb", buffering=2**20)
        self._lock = threading.Lock()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def patience(self, seconds):
        """How long reading and writing wait for the other side; None for ever."""
        self._socket.settimeout(seconds)

    def send(self, message, tensors=()):
        """Sends a dict as a line, and arrays behind it."""
        with self._lock:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
            for tensor in tensors:
                if tensor.nbytes:
                    self._socket.sendall(memoryview(np.ascontiguousarray(tensor)).cast("B"))

    def receive(self, most=MOST_LINE):
        """The next line, a dict.

        Raises:
            ConnectionError: the other side is gone; Refused: it says something else.
            TimeoutError (socket.timeout): it is silent for longer than `patience`.
        """
        line = self._file.readline(most)
        if not line:
            raise ConnectionResetError("it closed the connection")
        try:
            found = json.loads(line) if line.endswith(b"\n") else None
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Refused("it does not speak the protocol of --mode=data_service")
        return found

    def receive_tensor(self, dtype, shape):
        """An array of this dtype and shape."""
        tensor = np.empty(shape, dtype)
        view = memoryview(tensor.reshape(-1)).cast("B") if tensor.nbytes else memoryview(b"")
        while len(view):
            count = self._file.readinto(view)
            if not count:
                raise ConnectionResetError("it closed the connection")
            view = view[count:]
        return tensor

    def close(self):
        """Ends the connection, also under a thread that waits for it."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()

    def greet_as_worker(self, key):
        """The worker's half of the greeting; raises Refused."""
        mine = secrets.token_hex(16)
        self.send({"data_service": _PROTOCOL, "nonce": mine})
        said = self.receive(MOST_HELLO)
        nonces = (mine, _nonce(said))
        if not service_key.proves(said.get("proof"), key, "training", nonces):
            self.send({"refused": "key"})
            raise Refused("it has another key")
        self.send({"proof": service_key.proof(key, "worker", nonces)})

    def greet_as_training(self, key):
        """The training's half of the greeting; raises Refused."""
        said = self.receive(MOST_HELLO)
        if said.get("data_service") != _PROTOCOL:
            raise Refused(
                "it speaks another protocol, so start the same version of simclr_tf there"
            )
        nonces = (_nonce(said), secrets.token_hex(16))
        self.send({"nonce": nonces[1], "proof": service_key.proof(key, "training", nonces)})
        said = self.receive(MOST_HELLO)
        if not service_key.proves(said.get("proof"), key, "worker", nonces):
            raise Refused("it has another --service_key")


def _nonce(said):
    nonce = said.get("nonce")
    if not isinstance(nonce, str) or len(nonce) != 32:
        raise Refused("it does not speak the protocol of --mode=data_service")
    return nonce
