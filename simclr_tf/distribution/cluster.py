"""Which processes train together: from the settings `workers` or from TF_CONFIG."""

import dataclasses
import json

from simclr_tf.config import check_addresses
from simclr_tf.errors import SettingsError

_REMEDY = "mend TF_CONFIG, or unset it and give --workers and --worker_index."


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The processes of a run.

    Attributes:
        addresses: tuple of "host:port", the chief's first; () for one process alone.
        index: which of them this process is.
    """

    addresses: tuple = ()
    index: int = 0

    @property
    def count(self):
        """How many processes there are."""
        return max(1, len(self.addresses))


def find_cluster(workers, environment):
    """The cluster that the settings or the environment name.

    Args:
        workers: config.Workers.
        environment: mapping such as os.environ; its TF_CONFIG is looked at.
    Returns:
        Cluster.
    Raises:
        SettingsError: either cannot be used, or they differ.
    """
    told = from_tf_config(environment.get("TF_CONFIG", ""))
    asked = Cluster(workers.addresses, max(0, workers.worker_index))
    if not asked.addresses:
        if workers.worker_index >= 0 and (not told.addresses or told.index != asked.index):
            where = f"TF_CONFIG says {told.index}" if told.addresses else "there is no --workers"
            raise SettingsError(
                f"worker_index={workers.worker_index} is given but {where}; leave it out, or give "
                "--workers with it."
            )
        return told
    if told.addresses and told != asked:
        raise SettingsError(
            f"--workers={workers.workers} --worker_index={asked.index} and TF_CONFIG (workers "
            f"{','.join(told.addresses)}, index {told.index}) differ; unset one of them."
        )
    return asked


def from_tf_config(text):
    """The cluster of a TF_CONFIG; a chief counts as the first worker.

    Args:
        text: JSON such as {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker",
            "index": 0}}; "" for none.
    Returns:
        Cluster; without addresses if TF_CONFIG names no cluster.
    Raises:
        SettingsError: it is malformed, or asks for other roles than chief and worker.
    """
    content = _parsed(text)
    jobs = content.get("cluster") or {}
    task = content.get("task") or {}
    if not jobs:
        return Cluster()
    others = sorted(set(jobs) - {"chief", "worker"}) if isinstance(jobs, dict) else ["a list"]
    if others:
        raise SettingsError(f"TF_CONFIG names {others[0]} in its cluster, where only chief and worker are allowed; {_REMEDY}")  # fmt: skip
    chiefs, workers = (jobs.get(name, []) for name in ("chief", "worker"))
    if not all(isinstance(part, list) and all(isinstance(a, str) for a in part) for part in (chiefs, workers)):  # fmt: skip
        raise SettingsError(f"TF_CONFIG names workers that are no list of host:port; {_REMEDY}")
    addresses = (*chiefs, *workers)
    check_addresses(addresses, "TF_CONFIG")
    kind, index = (task.get(name) if isinstance(task, dict) else None for name in ("type", "index"))
    members = {"chief": chiefs, "worker": workers}.get(kind, [])
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(members):
        raise SettingsError(
            f"TF_CONFIG says task type={kind!r} index={index!r}, which is none of its "
            f"{len(chiefs)} chiefs and {len(workers)} workers; {_REMEDY}"
        )
    return Cluster(addresses, index + (len(chiefs) if kind == "worker" else 0))


def _parsed(text):
    try:
        content = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise SettingsError(f"TF_CONFIG is not JSON ({error}); {_REMEDY}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"TF_CONFIG is a {type(content).__name__}, not a JSON object; {_REMEDY}")  # fmt: skip
    return content


def refuse_workers(environment, mode="this mode"):
    """For everything that runs in one process.

    Args:
        environment: mapping such as os.environ; mode: what is refused, in the user's words.
    Raises:
        SettingsError: TF_CONFIG names several workers.
    """
    count = from_tf_config(environment.get("TF_CONFIG", "")).count
    if count > 1:
        raise SettingsError(
            f"TF_CONFIG names {count} workers, but only --mode=pretrain trains on several; run "
            f"{mode} in one process, with TF_CONFIG unset."
        )
