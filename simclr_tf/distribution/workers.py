"""Several processes that train together: connecting, agreeing, and noticing that one is gone."""

import contextlib
import importlib
import logging
import signal
import threading

import numpy as np

from simclr_tf.data.order import Share
from simclr_tf.distribution.cluster import Cluster
from simclr_tf.distribution.rendezvous import meet
from simclr_tf.errors import DataError, PreemptedError, UserError, WorkerLostError
from simclr_tf.stack import eager_context, tf

_LOG = logging.getLogger(__name__)
HEARTBEAT_SECONDS = 10  # a worker that is silent for so long is given up
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)


class WorkerGroup:
    """The processes of a run, seen from one of them; one process alone exchanges nothing."""

    def __init__(self, strategy, cluster=None):
        """Args: strategy: tf.distribute.Strategy of this process; cluster: Cluster, or None."""
        self.strategy = strategy
        self.cluster = cluster or Cluster()
        self.index = self.cluster.index
        self.count = self.cluster.count

    @property
    def is_chief(self):
        """Whether this process writes the run folder and talks to the user."""
        return self.index == 0

    @property
    def replicas(self):
        """Of all workers; of a dry run, as many on each as here."""
        connected = isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return self.strategy.num_replicas_in_sync * (1 if connected else self.count)

    def share(self, batch):
        """data.order.Share of this worker in global batches of `batch` images."""
        if self.count == 1:
            return Share(batch)
        return Share(batch, self.index, self.count, self.replicas // self.count)

    def say(self, text):
        """Prints once, however many workers there are."""
        if self.is_chief:
            print(text, flush=True)

    def exchange(self, *numbers):
        """Every worker's numbers, float64 [workers, k]; all must call it at the same place.

        The sum over workers of a matrix whose other rows are zero, so all see the same bits.
        """
        if self.count == 1:
            return np.asarray([numbers], np.float64)
        rows = np.zeros([self.count, len(numbers)])
        rows[self.index] = numbers
        first = self.index * (self.replicas // self.count)

        def of_replica(context):
            mine = context.replica_id_in_sync_group == first
            return tf.constant(rows if mine else np.zeros_like(rows))

        values = self.strategy.experimental_distribute_values_from_function(of_replica)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()

    def on_every_worker(self, action):
        """Runs action() on every worker; if it fails on one with a UserError, all stop.

        Returns:
            its result on this worker.
        Raises:
            UserError: of this worker, or WorkerLostError naming the one that failed.
        """
        result = None
        failure = None
        try:
            result = action()
        except UserError as error:
            failure = error
        failed = self.exchange(failure is not None)[:, 0]
        if failure is not None:
            raise failure
        if failed.any():
            raise WorkerLostError(
                f"worker {int(np.argmax(failed))} could not start, its own message says why; mend "
                "that, then run the same command on every worker."
            )
        return result

    def check_equal(self, number, what):
        """Refuses a number that differs between workers, such as the step of their checkpoint.

        Args:
            number: of this worker; what: it is, in the user's words.
        Raises:
            DataError: it differs.
        """
        found = self.exchange(number)[:, 0]
        other = int(np.argmax(found != found[0]))
        if other:
            raise DataError(
                f"worker 0 finds {what} {found[0]:g} and worker {other} {found[other]:g}; give all "
                "of them the same folder, on a disk that they share, as --model_dir."
            )

    @contextlib.contextmanager
    def lasting(self):
        """Around a run: the workers end together, and a lost one ends it in the user's words.

        Raises:
            WorkerLostError: a collective failed because another worker is gone.
        """
        try:
            yield
            self.exchange(0)
        except WorkerLostError:
            raise
        except PreemptedError:  # on all at the same step; the chief may still be writing
            with contextlib.suppress(*LOST):
                self.exchange(0)
            raise
        except LOST as error:
            if self.count == 1:
                raise
            raise _lost(self.cluster, error) from error


def distributed(strategy, batches):
    """A distributed dataset of batches that were made for a strategy.

    Args:
        strategy: tf.distribute.Strategy.
        batches: tf.data.Dataset; of global batches, or on several workers of the pieces of
            `WorkerGroup.share`.
    """
    if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        endless = batches.repeat()  # said so, or a worker would ask the others at every step
        return strategy.distribute_datasets_from_function(lambda context: endless)
    return strategy.experimental_distribute_dataset(batches)


def connect(cluster, logical_cpus=0, wait=600, agreed=None, bind=""):
    """Joins the other workers; call it before any other TensorFlow work.

    Args:
        cluster: Cluster of several processes, which use equal numbers of devices.
        logical_cpus: how many CPU devices to use where there is no GPU; 0: one.
        wait: seconds until all must have come up.
        agreed: {name: value} of settings that must be the same on all.
        bind: address to listen on until all are there, see `rendezvous.meet`.
    Returns:
        WorkerGroup.
    Raises:
        SettingsError: as of `rendezvous.meet`.
        WorkerLostError: the others did not come up, or are gone again.
    """
    gpus = len(tf.config.list_physical_devices("GPU"))
    same = {"devices": gpus or max(1, logical_cpus), "tensorflow": tf.__version__}
    meet(cluster, {**same, **(agreed or {})}, wait, bind)
    _LOG.warning(
        "worker %d: TensorFlow serves at port %s of every network of this machine, without "
        "encryption or a password; keep it inside a network that you trust",
        cluster.index,
        cluster.addresses[cluster.index].rpartition(":")[2],
    )
    try:
        group = WorkerGroup(
            _strategy(_resolver(cluster, gpus), 0 if gpus else logical_cpus), cluster
        )
        group.exchange(0)
    except (*LOST, tf.errors.UnknownError) as error:
        raise _lost(cluster, error) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # TensorFlow's own handler would swallow it
    return group


def _resolver(cluster, gpus):
    """The cluster as TensorFlow wants it; its coordination service is set up, not started."""
    context = eager_context()
    context.configure_coordination_service(
        service_type="standalone",
        service_leader="/job:worker/replica:0/task:0",
        heartbeat_timeout_in_ms=1000 * HEARTBEAT_SECONDS,
    )
    context.coordination_service.coordinated_job_list.add(name="worker", num_tasks=cluster.count)
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": gpus},
        rpc_layer="grpc",
    )


def _strategy(resolver, cpus):
    """MultiWorkerMirroredStrategy on every GPU, or on several logical CPUs of each worker."""
    if cpus < 2:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    base = tf.distribute.MultiWorkerMirroredStrategy
    extended = importlib.import_module(base.__module__).CollectiveAllReduceExtended

    class OnCpus(extended):
        def _initialize_local_devices(self, cluster_resolver, worker_device):
            return tuple(f"{worker_device}/device:CPU:{i}" for i in range(cpus)), "CPU"

    class MultiWorkerMirroredStrategy(base):
        def __init__(self):
            options = tf.distribute.experimental.CommunicationOptions()
            tf.distribute.Strategy.__init__(self, OnCpus(self, resolver, options))

    return MultiWorkerMirroredStrategy()


def _lost(cluster, error):
    return WorkerLostError(
        f"worker {cluster.index} of {cluster.count} lost the others ({_reason(error)}): one "
        "stopped, was killed or cannot be reached; run the same command on every worker to go on "
        "from the last checkpoint."
    )


def _reason(error):
    """The reason inside a TensorFlow error, without the graph around it."""
    text = str(getattr(error, "message", None) or error).strip()
    text = text.rpartition("aborted by:")[2].strip() or type(error).__name__
    return text.splitlines()[0][:200].rstrip(".: ")
