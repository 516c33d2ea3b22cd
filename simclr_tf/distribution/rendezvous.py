"""Waiting until all workers are there, before TensorFlow starts.

TensorFlow's own wait can be neither ended nor interrupted, and it does not say who is missing. The
workers meet at the addresses that TensorFlow's servers take over afterwards.

Anybody can reach an open port, so the chief reads one short line of each visitor in a bounded time
and believes only those that name the same `--workers`.
"""

import contextlib
import hashlib
import hmac
import json
import selectors
import socket
import time

from simclr_tf.errors import SettingsError, WorkerLostError

_PAUSE = 0.2  # seconds between two attempts to reach the chief
_PATIENCE = 5.0  # seconds in which a visitor must have said its line
_MOST_BYTES = 65536  # of a line
_MOST_VISITORS = 64  # beside the workers, at a time
_GO = "go"
_UNKNOWN = "unknown"  # the visitor names other workers
_TAKEN = "taken"  # another process has that index
_FIELDS = {"token": str, "index": int, "agreed": dict}
_SHOWN = 3  # differing settings that a sentence names


def meet(cluster, agreed, wait, bind=""):
    """Returns when every worker of the cluster has called it.

    Args:
        cluster: Cluster of several processes.
        agreed: {name: value} of what must be the same on all: "devices", versions, settings.
        wait: seconds.
        bind: address that this process listens on; by default that of the cluster, so a loopback
            address is open to this machine only.
    Raises:
        SettingsError: this process cannot listen at its address, or the workers differ in what
            they believe the cluster or `agreed` to be.
        WorkerLostError: somebody did not come in time.
    """
    deadline = time.monotonic() + wait
    with _listen(cluster, bind) as server:
        if cluster.index == 0:
            missing = _Reception(server, cluster, agreed, deadline).wait_for_all()
        else:
            missing = _ask_chief(cluster, agreed, deadline)
    if missing:
        raise WorkerLostError(
            f"after {wait} s {missing} is not there; start the same command on every worker, or "
            "raise --workers_wait."
        )


def token_of(cluster):
    """What only somebody knows who was given the same `--workers`."""
    return hashlib.sha256(",".join(("simclr_tf", *cluster.addresses)).encode()).hexdigest()


def _listen(cluster, bind):
    address = cluster.addresses[cluster.index]
    host, _, port = address.rpartition(":")
    try:
        found = socket.getaddrinfo(bind or host.strip("[]"), int(port), type=socket.SOCK_STREAM)
        family, _, _, _, place = found[0]
        return socket.create_server(place[:2], family=family, backlog=cluster.count + _MOST_VISITORS)  # fmt: skip
    except OSError as error:
        raise SettingsError(
            f"worker {cluster.index} cannot listen at {address} ({error.strerror}); give an "
            "address of this machine and a free port, or add --bind=0.0.0.0 where the address is "
            "that of a gateway."
        ) from error


class _Visitor:
    """A connection to the chief that has not said its line yet."""

    def __init__(self, connection):
        self.connection = connection
        self.text = b""
        self.deadline = time.monotonic() + _PATIENCE

    def read(self):
        """Takes what has come.

        Returns:
            the line, None while it is not complete.
        Raises:
            OSError, ValueError: the other end is gone or says too much.
        """
        part = self.connection.recv(4096)
        self.text += part
        if b"\n" in self.text:
            return self.text.partition(b"\n")[0]
        if not part or len(self.text) > _MOST_BYTES:
            raise ValueError("no line")
        return None


class _Reception:
    """The chief's part: lets all go when the last has come."""

    def __init__(self, server, cluster, agreed, deadline):
        self._server = server
        self._cluster = cluster
        self._agreed = agreed
        self._deadline = deadline
        self._token = token_of(cluster)
        self._arrived = {}  # index: connection
        self._selector = selectors.DefaultSelector()

    def wait_for_all(self):
        """Returns who is missing at the deadline, "" if everybody came."""
        self._server.setblocking(False)
        self._selector.register(self._server, selectors.EVENT_READ)
        try:
            while len(self._arrived) < self._cluster.count - 1:
                if time.monotonic() > self._deadline:
                    return _names(self._cluster, set(range(1, self._cluster.count)) - set(self._arrived))  # fmt: skip
                self._look()
            for connection in self._arrived.values():
                _answer(connection, _GO)
            return ""
        finally:
            for key in list(self._selector.get_map().values()):
                if key.fileobj is not self._server:
                    key.fileobj.close()
            for connection in self._arrived.values():
                connection.close()
            self._selector.close()

    def _look(self):
        """Takes what has come in the next moment."""
        for key, _ in self._selector.select(timeout=_PAUSE):
            if key.fileobj is self._server:
                self._accept()
            else:
                self._read(key.data)
        now = time.monotonic()
        for key in list(self._selector.get_map().values()):
            if key.data is not None and now > key.data.deadline:
                self._dismiss(key.data)

    def _accept(self):
        with contextlib.suppress(OSError):
            connection, _ = self._server.accept()
            if len(self._selector.get_map()) > _MOST_VISITORS + self._cluster.count:
                connection.close()
                return
            connection.setblocking(False)
            self._selector.register(connection, selectors.EVENT_READ, _Visitor(connection))

    def _read(self, visitor):
        try:
            line = visitor.read()
            if line is None:
                return
            said = parse(line, self._cluster.count)
        except BlockingIOError:
            return
        except (OSError, ValueError):
            self._dismiss(visitor)  # somebody else's connection
            return
        if not hmac.compare_digest(said["token"].encode(), self._token.encode()):
            self._dismiss(visitor, _UNKNOWN)
            return
        index = said["index"]
        other = self._arrived.get(index)
        if other is not None and not _has_left(other):
            self._dismiss(visitor, _TAKEN)
            return
        self._selector.unregister(visitor.connection)
        self._arrived[index] = visitor.connection
        if said["agreed"] != self._agreed:
            for connection in self._arrived.values():
                _answer(connection, self._agreed)
            raise _differ(self._agreed, said["agreed"], index)
        # one that left again must come again: TensorFlow would wait for it for ever
        for index in [index for index, one in self._arrived.items() if _has_left(one)]:
            self._arrived.pop(index).close()

    def _dismiss(self, visitor, answer=None):
        self._selector.unregister(visitor.connection)
        if answer is not None:
            _answer(visitor.connection, answer)
        visitor.connection.close()


def parse(line, count):
    """What a worker said.

    Args:
        line: bytes, without the final newline.
        count: of workers.
    Returns:
        {"token": str, "index": int from 1 to count - 1, "agreed": dict}.
    Raises:
        ValueError: it is anything else.
    """
    try:
        said = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(said, dict) or set(said) != set(_FIELDS):
        raise ValueError("other fields")
    if any(type(said[name]) is not kind for name, kind in _FIELDS.items()):
        raise ValueError("other types")
    if not 0 < said["index"] < count:
        raise ValueError("no such worker")
    return said


def _has_left(connection):
    """Whether the other end of a connection is closed."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def _ask_chief(cluster, agreed, deadline):
    """What the others do: knock until the chief lets them go; returns who is missing, or ""."""
    host, _, port = cluster.addresses[0].rpartition(":")
    hello = {"token": token_of(cluster), "index": cluster.index, "agreed": agreed}
    line = (json.dumps(hello) + "\n").encode()
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=5) as chief:
                chief.sendall(line)
                chief.settimeout(max(0.01, deadline - time.monotonic()))
                said = json.loads(chief.makefile().readline(_MOST_BYTES))
        except (OSError, ValueError, RecursionError):
            time.sleep(_PAUSE)
            continue
        if said == _GO:
            return ""
        if said == _UNKNOWN:
            raise SettingsError(
                f"worker 0 at {cluster.addresses[0]} was not started with "
                f"--workers={','.join(cluster.addresses)}; give all the same."
            )
        if said == _TAKEN:
            raise SettingsError(
                f"worker_index={cluster.index} is in use by another process; give each worker its "
                "own, or end the older one."
            )
        if isinstance(said, dict):
            raise _differ(said, agreed, cluster.index)
        time.sleep(_PAUSE)  # not our chief
    return _names(cluster, {0}) + " or another one"


def _answer(connection, message):
    with contextlib.suppress(OSError):
        connection.settimeout(_PATIENCE)
        connection.sendall((json.dumps(message) + "\n").encode())


def _names(cluster, indices):
    return ", ".join(f"worker {index} ({cluster.addresses[index]})" for index in sorted(indices))


def _differ(chief, other, index):
    names = [name for name in {**chief, **other} if chief.get(name) != other.get(name)]
    pairs = [f"{name}={chief.get(name)} and {other.get(name)}" for name in names[:_SHOWN]]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return SettingsError(
        f"worker 0 and worker {index} differ: {', '.join(pairs)}{more}; give all the same command, "
        "devices and versions."
    )
