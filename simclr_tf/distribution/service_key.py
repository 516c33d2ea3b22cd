"""The secret that a data service and its trainings share: a file that only its owner reads.

Whoever opens a connection proves that he has it, and so does the worker; the secret itself is never
sent. Nothing is encrypted.
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat

from simclr_tf.errors import SettingsError

USUAL = os.path.join("~", ".simclr_tf", "service_key")
_LEAST = 32  # characters
_MOST = 4096


def read_key(path="", make=False):
    """The secret, bytes.

    Args:
        path: of the file; "" is the usual one, which every process of this user finds.
        make: write a new one if the file is missing.
    Raises:
        SettingsError: the file is missing, too short, or open to other users.
    """
    path = os.path.expanduser(path or USUAL)
    if make and not os.path.exists(path):
        _make(path)
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(_MOST).strip()
    except OSError as error:
        raise SettingsError(
            f"service_key={path} cannot be read ({error.strerror}); the first --mode=data_service "
            "on a machine writes it, so copy that file here, or name it by --service_key."
        ) from error
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SettingsError(f"service_key={path} can be read by others; run chmod 600 {path}, and better make a new one.")  # fmt: skip
    if len(key) < _LEAST:
        raise SettingsError(f"service_key={path} holds {len(key)} characters; give at least {_LEAST} random ones.")  # fmt: skip
    return key


def _make(path):
    """Writes a new secret; of two processes at once one writes and both read the same."""
    folder = os.path.dirname(path) or "."
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        temporary = f"{path}.{secrets.token_hex(4)}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32) + "\n")
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)  # fails where the other one was first
        os.unlink(temporary)
    except OSError as error:
        raise SettingsError(f"service_key={path} cannot be written ({error.strerror}); name another place by --service_key.") from error  # fmt: skip


def proof(key, side, nonces):
    """Hexadecimal proof that `side` ("worker" or "training") has the key, for these nonces."""
    text = "|".join((side, *nonces)).encode()
    return hmac.new(key, text, hashlib.sha256).hexdigest()


def proves(given, key, side, nonces):
    """Whether `given`, anything that came from outside, is that proof."""
    if not isinstance(given, str):
        return False
    return hmac.compare_digest(given.encode("utf-8", "replace"), proof(key, side, nonces).encode())
