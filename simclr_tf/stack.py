"""The one place that decides which TensorFlow and Keras are used.

Every other module writes `from simclr_tf.stack import keras, tf`. The Keras 2 API (the package
`tf_keras`) is the common ground of TensorFlow 2.15 and of all later releases: TensorFlow Hub's
KerasLayer, TPUStrategy with `steps_per_execution`, and tensorflow-addons need it.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import logging
import os
import threading
import weakref

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # kernel registration chatter, not errors

import tensorflow as tf  # noqa: E402

from simclr_tf.errors import SettingsError, StackError  # noqa: E402

try:
    import tf_keras as keras
except ImportError as error:
    _minor = ".".join(tf.__version__.split(".")[:2])
    raise StackError(
        f"TensorFlow {tf.__version__} is installed without tf-keras, the Keras 2 API that "
        f'simclr_tf uses; run: pip install --no-deps "tf-keras=={_minor}.*"'
    ) from error


def _check_keras():
    if tf.keras.Model is not keras.Model:
        found = getattr(tf.keras, "__version__", "3")
        raise StackError(
            f"Keras {found} was loaded before simclr_tf, which needs the Keras 2 API; set the "
            "environment variable TF_USE_LEGACY_KERAS=1 before TensorFlow is first imported (in a "
            "notebook: restart the kernel and import simclr_tf first)."
        )


_check_keras()

# somebody's ~/.keras/keras.json may say channels_first; every image here is [height, width, channels]
keras.backend.set_image_data_format("channels_last")

# For functions that build tf.data pipelines or graphs: their control flow is spelled out (tf.cond,
# tf.while_loop), so AutoGraph has nothing to convert, and its search took a third of every start.
no_autograph = tf.autograph.experimental.do_not_convert


_HANDING = threading.Lock()  # of a function from one graph to another, see numpy_function


def accelerated():
    """Whether there is a GPU or TPU."""
    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def eager_context():
    """TensorFlow's runtime context, for settings of it that have no public name."""
    from tensorflow.python.eager import context

    return context.context()


def has_other_workers():
    """Whether this process is one of several workers, which TensorFlow has to sign off."""
    return eager_context()._collective_ops_server_def is not None


def keras_of_files():
    """The Keras that reads and writes files for other programs: what they get by `import keras`.

    That is Keras 3 where it is installed. It is a package beside the Keras 2 API, so both live in
    one process; its backend is the one that the user chose (KERAS_BACKEND, keras.json).

    Returns:
        the module `keras` of Keras 3, else the Keras of this module.
    Raises:
        SettingsError: the backend that is chosen cannot be imported.
    """
    try:
        major = int(importlib.metadata.version("keras").split(".")[0])
    except importlib.metadata.PackageNotFoundError:
        major = 2
    if major < 3:
        return keras
    try:
        return importlib.import_module("keras")
    except ImportError as error:
        raise SettingsError(
            f"Keras {major} cannot be imported with the backend that is chosen for it ({error}); "
            "set the environment variable KERAS_BACKEND=tensorflow."
        ) from error


def record_reader(path):
    """TensorFlow's reader of TFRecord files by offset, which has no public name.

    Its `read(offset)` gives (the record, the next offset) and raises tf.errors.DataLossError where
    a checksum is wrong.
    """
    from tensorflow.python.lib.io import tf_record

    return tf_record.tf_record_random_reader(path)


def custom_gradient(function):
    """`tf.custom_gradient` whose gradient lives as long as the graph in which it was called.

    TensorFlow registers the gradient of every call in a graph under a name of its own, for the
    life of the process. The gradient refers to tensors of the graph, so every traced train step
    would stay in memory, 70 to 150 MiB for each training in a notebook. Here the graph holds the
    gradient, the registry holds a weak reference, and the name goes when the graph goes.

    Args:
        function: tensors -> (results, gradient function), as for `tf.custom_gradient`.
    Returns:
        function of the same arguments.
    """
    plain = tf.custom_gradient(function)

    @functools.wraps(function)
    def call(*args):
        with _gradients_of_graph():
            return plain(*args)

    return call


def all_reduce(context, operation, values):
    """`context.all_reduce`, a `custom_gradient` of TensorFlow's own that goes with its graph.

    Args:
        context: tf.distribute.ReplicaContext.
        operation: tf.distribute.ReduceOp.
        values: nest of tensors of this replica.
    Returns:
        the same nest, reduced over all replicas.
    """
    with _gradients_of_graph():
        return context.all_reduce(operation, values)


@contextlib.contextmanager
def _gradients_of_graph():
    """Makes the current graph the only owner of the gradients that are registered inside."""
    before = set(_registered_gradients())
    yield
    if tf.executing_eagerly():
        return
    graph = tf.compat.v1.get_default_graph()
    for name in _registered_gradients().keys() - before:
        if name.startswith("CustomGradient"):
            _hand_to_graph(name, graph)


def _registered_gradients():
    """{name: entry} of TensorFlow's registry of gradients, which has no public way to forget."""
    from tensorflow.python.framework import ops

    return ops.gradient_registry._registry


def _hand_to_graph(name, graph):
    """Makes `graph` the only owner of the gradient registered as `name`."""
    entry = _registered_gradients()[name]
    gradient = entry["type"]
    if isinstance(gradient, _GradientOfGraph):  # a replica's thread in the same graph was first
        return
    entry["type"] = _GradientOfGraph(gradient)
    if not hasattr(graph, "simclr_tf_gradients"):
        graph.simclr_tf_gradients = {}
    graph.simclr_tf_gradients[name] = gradient
    weakref.finalize(graph, _registered_gradients().pop, name, None)


class _GradientOfGraph:
    """A gradient function that somebody else keeps alive."""

    def __init__(self, function):
        self._function = weakref.ref(function)

    def __call__(self, operation, *upstream):
        return self._function()(operation, *upstream)


@contextlib.contextmanager
def process_kept():
    """Around work in a process that goes on afterwards, such as a notebook's.

    The precision policy of Keras and TensorFlow's deterministic kernels, which a run may choose,
    are what they were before.
    """
    from tensorflow.python.framework import config  # deterministic kernels have no public way back

    policy = keras.mixed_precision.global_policy()
    deterministic = config.is_op_determinism_enabled()
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(policy)
        if config.is_op_determinism_enabled() and not deterministic:
            config.disable_op_determinism()


def numpy_function(function, inputs, types, stateful=True):
    """`tf.numpy_function` whose Python function lives as long as the graph in which it is called.

    TensorFlow hands the function to the outermost graph, which is that of the process where tf.data
    traces one: a data set, and the images that it holds in memory, would never go. Not for what a
    `tf.function` of a module traces: that one outlives the graph in which it is first called.

    Args:
        function, inputs, types, stateful: as `func`, `inp`, `Tout` and `stateful` of
            `tf.numpy_function`.
    Returns:
        its results.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    outermost = None
    while graph is not None and hasattr(graph, "outer_graph"):
        outermost = graph
        graph = graph.outer_graph
    if outermost is None:
        return tf.numpy_function(function, inputs, types, stateful=stateful)
    with _HANDING:  # another thread may trace a pipeline too, and the last function is taken
        results = tf.numpy_function(function, inputs, types, stateful=stateful)
        held = getattr(graph, "_py_funcs_used_in_graph", None)
        if held:
            if not hasattr(outermost, "simclr_tf_functions"):
                outermost.simclr_tf_functions = []
            outermost.simclr_tf_functions.append(held.pop())
    return results


def load_addons(feature):
    """Imports tensorflow-addons, or says that this stack has none.

    Args:
        feature: what needs it, in the user's words, such as "--optimizer=lamb".
    Returns:
        the module `tensorflow_addons`.
    Raises:
        SettingsError: tensorflow-addons is not installed; no release exists for TensorFlow > 2.15.
    """
    try:
        import tensorflow_addons
    except ImportError as error:
        raise SettingsError(
            f"{feature} needs tensorflow-addons, which has no release for TensorFlow "
            f"{tf.__version__}; use Python 3.9 to 3.11 with requirements.txt (TensorFlow 2.15), "
            "or choose another setting."
        ) from error
    return tensorflow_addons


@contextlib.contextmanager
def without_notes():
    """While it lasts, TensorFlow's own notes are not shown; its warnings and errors are.

    In a notebook it would say where it writes assets, also those of a folder that goes again.
    """
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(max(before, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(before)


def is_deterministic():
    """Whether kernels are deterministic in this process, as under --deterministic."""
    from tensorflow.python.framework import config  # no public way to ask

    return config.is_op_determinism_enabled()
