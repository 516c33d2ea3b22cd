"""Waiting until all workers are there, before TensorFlow starts.

TensorFlow's own wait can be neither ended nor interrupted, and it does not say who is missing. The
workers meet at the addresses that TensorFlow's servers take over afterwards.
"""

import contextlib
import json
import socket
import time

from simclr_tf.errors import SettingsError, WorkerLostError

_PAUSE = 0.2  # seconds between two attempts to reach the chief
_PATIENCE = 5  # seconds for a line of a visitor


def meet(cluster, devices, wait):
    """Returns when every worker of the cluster has called it.

    Args:
        cluster: Cluster of several processes.
        devices: of this worker, the same number on all.
        wait: seconds.
    Raises:
        SettingsError: this process cannot listen at its address, or the workers differ in what
            they believe the cluster or their devices to be.
        WorkerLostError: somebody did not come in time.
    """
    deadline = time.monotonic() + wait
    with _listen(cluster) as server:
        if cluster.index == 0:
            missing = _wait_for_all(server, cluster, devices, deadline)
        else:
            missing = _ask_chief(cluster, devices, deadline)
    if missing:
        raise WorkerLostError(
            f"after {wait} s {missing} is not there; start the same command on every worker, or "
            "raise --workers_wait."
        )


def _listen(cluster):
    address = cluster.addresses[cluster.index]
    host, _, port = address.rpartition(":")
    try:
        socket.getaddrinfo(host, int(port))
        server = socket.create_server(("", int(port)), backlog=cluster.count)
    except OSError as error:
        raise SettingsError(
            f"worker {cluster.index} cannot listen at {address} ({error.strerror}); give an "
            "address of this machine and a free port."
        ) from error
    return server


def _wait_for_all(server, cluster, devices, deadline):
    """The chief's part: lets all go when the last has come; returns who is missing, or ""."""
    want = {"workers": list(cluster.addresses), "devices": devices}
    with contextlib.ExitStack() as stack:
        come = {}
        while len(come) < cluster.count - 1:
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                visitor = stack.enter_context(server.accept()[0])
                visitor.settimeout(_PATIENCE)
                said = json.loads(visitor.makefile().readline())
                index = said.pop("index")
            except socket.timeout:
                if time.monotonic() > deadline:
                    return _names(cluster, set(range(1, cluster.count)) - set(come))
                continue
            except (OSError, ValueError, AttributeError, KeyError, TypeError):
                continue  # somebody else's connection
            come[index] = visitor
            if said != want:
                _answer(come.values(), {"workers": cluster.addresses, "devices": devices})
                raise _differ(want, said)
            # one that left again must come again: TensorFlow would wait for it for ever
            come = {index: visitor for index, visitor in come.items() if not _has_left(visitor)}
        _answer(come.values(), "go")
    return ""


def _has_left(visitor):
    """Whether the other end of a connection is closed."""
    visitor.setblocking(False)
    try:
        return visitor.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        visitor.settimeout(_PATIENCE)


def _ask_chief(cluster, devices, deadline):
    """What the others do: knock until the chief lets them go; returns who is missing, or ""."""
    host, _, port = cluster.addresses[0].rpartition(":")
    mine = {"workers": list(cluster.addresses), "devices": devices}
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((host, int(port)), timeout=5) as chief:
                chief.sendall((json.dumps({**mine, "index": cluster.index}) + "\n").encode())
                chief.settimeout(max(0.01, deadline - time.monotonic()))
                said = json.loads(chief.makefile().readline())
        except (OSError, ValueError):
            time.sleep(_PAUSE)
            continue
        if said == "go":
            return ""
        raise _differ(said, mine)
    return _names(cluster, {0}) + " or another one"


def _answer(visitors, message):
    for visitor in visitors:
        with contextlib.suppress(OSError):
            visitor.sendall((json.dumps(message) + "\n").encode())


def _names(cluster, indices):
    return ", ".join(f"worker {index} ({cluster.addresses[index]})" for index in sorted(indices))


def _differ(chief, other):
    words = [f"{part['devices']} devices on {','.join(part['workers'])}" for part in (chief, other)]
    return SettingsError(
        f"worker 0 runs {words[0]}, but another one {words[1]}; give all the same --workers and "
        "the same number of devices."
    )
