"""One process at a time in a run folder: a lease file that its holder renews.

`lock.json` names the host, the process and the time. The same works on local disks, network drives
and object stores such as gs://, because it needs nothing but reading and writing a small file:

- A holder on this machine that has died is known at once, by its process id and start time.
- A holder on another machine is watched for `LEASE` seconds. One that does not renew its lease in
  that time is dead; no clock of another machine is trusted.
- A process that loses its lease, such as one that was suspended, stops before it writes again.
"""

import atexit
import contextlib
import functools
import json
import logging
import os
import socket
import threading
import time
import uuid

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import is_remote
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
NAME = "lock.json"
RENEW = 10.0  # seconds between two renewals
LEASE = 45.0  # seconds without a renewal after which a holder on another machine is dead
_SETTLE = 0.5  # seconds in which two processes that take a lock at once see each other
_MOST = 4096  # bytes of a lock file that are read

_held = {}  # path of the lock file: _Lease of this process
_scopes = []  # one list of paths for each `scope` that is open


def acquire(folder, flag="--model_dir"):
    """Makes this process the only one that writes to a folder; repeated calls do nothing.

    The lock lasts until the innermost `scope` ends, or until the process does.

    Args:
        folder: path, which exists.
        flag: what the user gives it with, for the error.
    Raises:
        SettingsError: another process holds it.
        DataError: the lock file cannot be written.
    """
    path = os.path.join(_absolute(folder), NAME)
    lease = _held.get(path)
    if lease is not None and lease.pid == os.getpid():
        lease.renew()
        if not lease.lost:
            return
        _release(path)
    mine = _Lease(path)
    try:
        _take(path, mine, flag)
    except tf.errors.OpError as error:
        raise DataError(
            f"cannot write {path} ({error.message}); choose a folder that you can write to."
        ) from error
    _held[path] = mine
    mine.start()
    if _scopes:
        _scopes[-1].append(path)


def check(folder):
    """Before a file that matters is written: whether this process still holds the folder.

    Raises:
        DataError: another process has taken it over while this one stood still.
    """
    lease = _held.get(os.path.join(_absolute(folder), NAME))
    if lease is None or lease.pid != os.getpid():
        return
    lease.renew()
    if lease.lost:
        raise DataError(
            f"this process no longer holds {folder}: {lease.lost}; it ends without writing there."
        )


def release(folder):
    """Gives the folder back; does nothing if this process does not hold it."""
    _release(os.path.join(_absolute(folder), NAME))


@contextlib.contextmanager
def scope():
    """Around a command: what it acquires is given back at its end."""
    _scopes.append([])
    try:
        yield
    finally:
        for path in _scopes.pop():
            _release(path)


def releases(function):
    """Decorator: the function runs in a `scope`."""

    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        with scope():
            return function(*args, **kwargs)

    return wrapped


class _Lease:
    """What this process writes to a lock file, and the thread that renews it."""

    def __init__(self, path):
        self.path = path
        self.pid = os.getpid()
        self.lost = ""
        self.content = {
            "host": socket.gethostname(),
            "boot": _boot(),
            "process": self.pid,
            "process_started": _started(self.pid),
            "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
            "id": uuid.uuid4().hex,
            "renewal": 0,
        }
        self._done = threading.Event()
        self._guard = threading.Lock()

    def start(self):
        threading.Thread(target=self._renew_for_ever, daemon=True).start()

    def _renew_for_ever(self):
        while not self._done.wait(RENEW) and not self.lost:
            self.renew()

    def renew(self):
        """Writes the next renewal, unless the file belongs to somebody else by now."""
        with self._guard, contextlib.suppress(tf.errors.OpError):  # unreachable: the next time
            if self._done.is_set():
                return
            found = _read(self.path) if tf.io.gfile.exists(self.path) else None
            if found is None:
                self.lost = f"{self.path} was removed"
            elif found.get("id") != self.content["id"]:
                self.lost = f"{_words(found)} took it over"
            else:
                self.content["renewal"] += 1
                _write(self.path, self.content)

    def end(self):
        with self._guard:
            self._done.set()
            with contextlib.suppress(tf.errors.OpError):
                if _read(self.path).get("id") == self.content["id"]:
                    tf.io.gfile.remove(self.path)


def _take(path, mine, flag):
    """Writes the lock file, or raises SettingsError."""
    for _ in range(3):
        if _create(path, mine.content):
            return
        holder = _read(path)
        if not holder:  # given back in this moment, or empty after a power cut
            time.sleep(_SETTLE)
            holder = _read(path)
        if holder and _lives(path, holder):
            raise SettingsError(
                f"{os.path.dirname(path)} is in use by {_words(holder)}; wait for it or stop it, "
                f"or give another {flag}. If that process is gone for sure, remove {path}."
            )
        _write(path, mine.content)
        time.sleep(_SETTLE)  # another one may have found the same dead holder
        if _read(path).get("id") == mine.content["id"]:
            return
    raise SettingsError(
        f"{os.path.dirname(path)} is being taken by several processes at once; run the command "
        f"again, or give another {flag}."
    )


def _create(path, content):
    """Writes a lock file that is not there yet; returns whether this process did it."""
    if is_remote(path):  # without an exclusive creation: the last writer has it
        if tf.io.gfile.exists(path):
            return False
        _write(path, content)
        time.sleep(_SETTLE)
        return _read(path).get("id") == content["id"]
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    except OSError as error:
        raise DataError(
            f"cannot write {path} ({error.strerror}); choose a folder that you can write to."
        ) from error
    with os.fdopen(handle, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
    return True


def _write(path, content):
    temporary = f"{path}.{content['id'][:8]}.tmp"
    with tf.io.gfile.GFile(temporary, "w") as file:
        file.write(json.dumps(content, indent=2) + "\n")
    tf.io.gfile.rename(temporary, path, overwrite=True)


def _read(path):
    """The content of a lock file, {} if there is none or it is no lock.

    Raises:
        tf.errors.OpError: it is there and cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            content = json.loads(file.read(_MOST))
    except (tf.errors.NotFoundError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _lives(path, holder):
    """Whether the holder of a lock file is alive; may wait for LEASE seconds."""
    here = holder.get("host") == socket.gethostname() and holder.get("boot") == _boot()
    if here and isinstance(holder.get("process"), int):
        return _is_running(holder["process"], holder.get("process_started"))
    _LOG.info(
        "%s is held by %s, on another machine: waiting up to %g s for a sign of life",
        path,
        _words(holder),
        LEASE,
    )
    deadline = time.monotonic() + LEASE
    while time.monotonic() < deadline:
        time.sleep(min(1.0, LEASE / 5))
        now = _read(path)
        if now != holder:
            return bool(now)  # renewed, or given back
    return False


def _is_running(process, started):
    """Whether a process of this machine runs, and is the one that started then."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError, OSError):
        pass
    return started is None or _started(process) in (None, started)


def _started(process):
    """When a process of this machine started, in the kernel's ticks.

    -1 if it has ended and nobody asked for its exit code; None where it is unknown.
    """
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return -1 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def _boot():
    """Which start of this machine, or of this container, it is; "" where it is unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip() + os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _words(holder):
    return f"process {holder.get('process')} on {holder.get('host')} since {holder.get('since')}"


def _absolute(folder):
    return folder if is_remote(folder) else os.path.realpath(folder)


def _release(path):
    lease = _held.get(path)
    if lease is not None and lease.pid == os.getpid():  # a forked child holds nothing
        del _held[path]
        lease.end()


@atexit.register
def _release_all():
    for path in list(_held):
        _release(path)
