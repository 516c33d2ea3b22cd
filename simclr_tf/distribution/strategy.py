"""Which devices a run uses: the tf.distribute strategy, precision and determinism."""

import os

from simclr_tf.distribution import cluster, workers
from simclr_tf.errors import SettingsError, first_line
from simclr_tf.stack import keras, tf


def make_strategy(run):
    """Sets up the devices of one process; call it once, before any other TensorFlow work.

    Args:
        run: config.Run.
    Returns:
        a tf.distribute.Strategy: TPUStrategy with `use_tpu`, MirroredStrategy over all GPUs (or
        logical CPUs) where there are several, else the default strategy.
    Raises:
        SettingsError: no TPU is found, a mirrored strategy has fewer than two devices, or
            TF_CONFIG names several workers.
    """
    cluster.refuse_workers(os.environ)
    return _set_up(run, lambda: _tpu(run) if run.use_tpu else _local(run))


def make_group(run, settings, agreed=None):
    """Sets up the devices of this process and connects it to the others, if there are any.

    Args:
        run: config.Run.
        settings: config.Workers.
        agreed: {name: value} of settings that must be the same on all workers.
    Returns:
        workers.WorkerGroup; its strategy is that of `make_strategy`, or MultiWorkerMirroredStrategy. For
        a dry run it is not connected and holds the devices of this process alone.
    Raises:
        SettingsError: as `make_strategy`, or the workers cannot be used.
    """
    found = cluster.find_cluster(settings, os.environ)
    if found.count == 1:
        return workers.WorkerGroup(_set_up(run, lambda: _tpu(run) if run.use_tpu else _local(run)))
    if run.use_tpu or run.strategy != "auto":
        other = "use_tpu" if run.use_tpu else f"strategy={run.strategy}"
        raise SettingsError(
            f"{other} is given with {found.count} workers, whose strategy is "
            "MultiWorkerMirroredStrategy; leave one of the two out."
        )
    if run.dry_run:
        return workers.WorkerGroup(_set_up(run, lambda: _local(run)), found)
    wait = settings.workers_wait
    return _set_up(
        run, lambda: workers.connect(found, run.logical_cpus, wait, agreed, settings.bind)
    )


def _set_up(run, make):
    """What `make` returns, with CPU split, determinism and precision set."""
    if run.logical_cpus:
        _split_cpu(run.logical_cpus)
    made = make()  # first: the runtime starts with it and cannot join other workers later
    if run.deterministic:
        keras.utils.set_random_seed(run.seed)
        tf.config.experimental.enable_op_determinism()
    keras.mixed_precision.set_global_policy(run.precision)
    return made


def _split_cpu(count):
    try:
        cpu = tf.config.list_physical_devices("CPU")[0]
        logical = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, logical)
    except RuntimeError as error:
        raise SettingsError(
            f"logical_cpus={count} cannot be set after TensorFlow has started; "
            "set it before the first operation, in a new process."
        ) from error


def _local(run):
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = [f"{kind}:{i}" for i in range(len(tf.config.list_logical_devices(kind)))]
    if run.strategy == "mirrored" and len(devices) < 2:
        raise SettingsError(
            f"strategy=mirrored needs two or more devices and {len(devices)} {kind} was found; "
            "use --strategy=default, or split the CPU with --logical_cpus=2."
        )
    wanted = run.strategy == "mirrored" or (run.strategy == "auto" and len(devices) > 1)
    return mirrored(devices) if wanted else tf.distribute.get_strategy()


def mirrored(devices):
    """A MirroredStrategy that may follow others in the same process, as in a notebook.

    All strategies of a process start from the same collective keys, and one whose graph differs
    from that of an earlier one is aborted; TensorFlow's own tests shift the first key for that
    reason (strategy_combinations.py).

    Args:
        devices: names such as "GPU:0".
    Returns:
        tf.distribute.MirroredStrategy.
    """
    tf.distribute.MirroredStrategy._collective_key_base += 100000
    return tf.distribute.MirroredStrategy(devices)


def _tpu(run):
    if run.precision == "mixed_float16":
        raise SettingsError(
            "precision=mixed_float16 is not for TPUs, which need no loss scaling; "
            "use --precision=mixed_bfloat16."
        )
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(
            tpu=run.tpu_name, zone=run.tpu_zone or None, project=run.gcp_project or None
        )
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise SettingsError(
            f"no TPU answers to tpu_name={run.tpu_name} ({first_line(error)}); check the runtime type and "
            "that tensorflow-tpu is installed, or leave out --use_tpu."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def check_divisible(global_batch_size, replicas):
    """The per-replica batch size.

    Args:
        global_batch_size: int; replicas: int, of all workers.
    Raises:
        SettingsError: the global batch cannot be split evenly over the replicas.
    """
    if global_batch_size % replicas:
        raise SettingsError(
            f"train_batch_size={global_batch_size} does not divide evenly over {replicas} "
            f"replicas; use a multiple of {replicas}, such as "
            f"{max(1, round(global_batch_size / replicas)) * replicas}."
        )
    return global_batch_size // replicas


def check_compilable(jit_compile, strategy, replicas):
    """Refuses what ends in a crash of TensorFlow: a compiled step on several CPU replicas.

    XLA on CPU reaches neither the variables of another device nor the collectives between them.

    Args:
        jit_compile: bool, the setting; strategy: tf.distribute.Strategy; replicas: int, of all
            workers.
    Raises:
        SettingsError: as said.
    """
    accelerated = isinstance(strategy, tf.distribute.TPUStrategy)
    accelerated = accelerated or bool(tf.config.list_physical_devices("GPU"))
    if jit_compile and replicas > 1 and not accelerated:
        raise SettingsError(
            f"jit_compile is set with {replicas} replicas on CPUs, between which a step compiled "
            "by XLA cannot exchange anything; leave it out, or train on one device."
        )


def describe(strategy, workers=1, replicas=None):
    """The strategy in words, such as "MirroredStrategy, 2 replicas".

    Args:
        strategy: tf.distribute.Strategy of this process.
        workers: processes that train together.
        replicas: of all of them; None: those of the strategy.
    """
    count = replicas or strategy.num_replicas_in_sync
    words = f"{count} replica{'s' if count > 1 else ''}"
    if workers > 1:
        return f"MultiWorkerMirroredStrategy, {workers} workers, {words}"
    name = type(strategy).__name__
    name = "one device" if name == "_DefaultDistributionStrategy" else name
    return f"{name}, {words}"
