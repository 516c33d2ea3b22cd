"""Whether imported networks compute what their SavedModel computes, output by output."""

import dataclasses
import gc
import os

import numpy as np

from simclr_tf.errors import DataError, first_line
from simclr_tf.files import literal
from simclr_tf.stack import tf
from simclr_tf.weights.graph_ops import check_graph

TOLERANCE = 1e-4  # of every output, relative to its largest value; measured: 2e-6


def outputs_of(imported, images, selector=0):
    """Every output of the networks under the official keys, in inference mode.

    Args:
        imported: official.Imported.
        images: float32 [b, h, w, 3] in [0, 1].
        selector: which of the head's outputs the classifier reads.
    Returns:
        {key: float32 array}: the endpoints of ResNet, `proj_head_input`, `proj_head_output` and
        `logits_sup` as far as there is a head and a classifier.
    """
    found = imported.encoder.endpoints(images, training=False)
    layers = [found["final_avg_pool"]]
    if imported.head is not None:
        layers = imported.head.outputs(layers[0], training=False)
        found["proj_head_input"] = layers[0]
        found["proj_head_output"] = layers[-1]
    if imported.classifier is not None:
        found["logits_sup"] = imported.classifier(layers[selector])
    return {key: value.numpy() for key, value in found.items()}


def verify(imported, source, layers, trust_code=False):
    """Compares every output with the SavedModel; finds the layer that its classifier reads.

    Args:
        imported: official.Imported.
        source: folder of the SavedModel, or of a TF1 Hub module.
        layers: indices of the head's outputs that the classifier may read.
        trust_code: run its graph even if that does more than compute, see `check_graph`.
    Returns:
        Imported with `differences` and `selector`.
    Raises:
        DataError: the SavedModel cannot be run, or an output differs by more than TOLERANCE.
        SettingsError: its graph would do more than compute.
    """
    check_graph(source, trust_code)
    side = imported.settings["image_size"]
    images = np.random.default_rng(0).uniform(size=[2, side, side, 3]).astype("float32")
    try:
        with literal(source) as readable:
            wanted = {key: value.numpy() for key, value in _run(readable, images).items()}
        gc.collect()  # the weights of the SavedModel go before the networks compute
    except (tf.errors.OpError, OSError, ValueError, TypeError, LookupError) as error:
        raise DataError(
            f"SavedModel {source} cannot be run ({first_line(error)}); copy it again."
        ) from error
    best = None
    for selector in layers:
        differences = _differences(outputs_of(imported, images, selector), wanted)
        if "final_avg_pool" not in differences:
            raise DataError(
                f"SavedModel {source} has no output final_avg_pool to compare with; give one of "
                "the official SimCLR code."
            )
        if best is None or max(differences.values()) < max(best.differences.values()):
            best = dataclasses.replace(imported, differences=differences, selector=selector)
    key = max(best.differences, key=best.differences.get)
    if not best.differences[key] <= TOLERANCE:
        raise DataError(
            f"{source}: output {key} of the imported network differs from the SavedModel by "
            f"{best.differences[key]:.1e}, above {TOLERANCE}; the weights are not taken over."
        )
    return best


def _run(source, images):
    """{key: tensor}, the outputs of a SavedModel in inference mode.

    A TF1 Hub module holds two graphs: one without tags for inference, and "train". Each has the
    signature "default".
    """
    if tf.io.gfile.exists(os.path.join(source, "tfhub_module.pb")):
        module = tf.saved_model.load(source, tags=[])
        return module.signatures["default"](images=tf.constant(images))
    return tf.saved_model.load(source)(images, trainable=False)


def fitting_layers(encoder, head, classifier):
    """Indices of the outputs of the head whose width fits the classifier, h first."""
    if classifier is None:
        return [0]
    dim = encoder.feature_dim
    widths = [dim] if head is None else head.widths(dim)
    return [i for i, width in enumerate(widths) if width == classifier.dense.kernel.shape[0]]


def _differences(found, wanted):
    keys = [key for key in found if key in wanted and np.ndim(wanted[key])]
    return {
        key: float(np.abs(found[key] - wanted[key]).max() / max(np.abs(wanted[key]).max(), 1e-30))
        for key in keys
    }
