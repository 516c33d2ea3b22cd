"""What users of an exported model do, in a process that never imports simclr_tf.

Usage: python export_consumers.py CHECKS SAVED_MODEL REFERENCE.npz
Prints one JSON object: what each check found. tests/test_export.py runs it and asserts.
"""

import functools
import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np
import tensorflow as tf


def error(got, want):
    """Largest difference relative to the largest wanted value."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (got.shape, want.shape)
    return float(np.abs(got - want).max() / np.abs(want).max())


def changed(variables, before):
    """{"kernels": changed, "statistics": changed} of variables against earlier values."""
    moved = [bool((v.numpy() != old).any()) for v, old in zip(variables, before)]
    kernels = [m for m, v in zip(moved, variables) if v.shape.rank == 4]
    statistics = [m for m, v in zip(moved, variables) if "moving" in v.name]
    return {"kernels": any(kernels), "statistics": any(statistics), "all": all(moved)}


def plain(path, data):
    """tf.saved_model.load: every way to call it, gradients, statistics."""
    model = tf.saved_model.load(path)
    images = tf.constant(data["images"])
    out = model(images)
    values = lambda: [v.numpy() for v in model.variables]
    before = values()
    found = {
        "keys": sorted(out),
        "error": {key: error(out[key], data[f"out_{key}"]) for key in out},
        "positional": error(model(images, False)["h"], data["out_h"]),
        "official": error(model(images, trainable=False)["h"], data["out_h"]),
        "both": error(model(images, training=True, trainable=False)["h"], data["out_h"]),
        "vector": error(model.feature_vector(images), data["out_h"]),
        "dynamic": list(model.feature_vector(tf.zeros([3, 41, 57, 3])).shape),
        "statistics_in_inference": changed(model.variables, before),
        "losses": [float(loss()) for loss in model.regularization_losses],
    }
    for name, kwargs in (("training", {"training": True}), ("trainable", {"trainable": True})):
        before = values()
        with tf.GradientTape() as tape:
            out = model(images, **kwargs)
            loss = tf.nn.l2_loss(out["z"]) + tf.nn.l2_loss(out["logits"])
        gradients = tape.gradient(loss, model.trainable_variables)
        found[f"gradients_{name}"] = [
            gradient is not None and bool(tf.reduce_any(gradient != 0)) for gradient in gradients
        ]
        found[f"statistics_{name}"] = changed(model.variables, before)
    same = [model(images, training=True)["block_group1"].numpy() for _ in range(2)]
    found["training_repeats"] = error(same[0], same[1])
    found["trainable"] = len(model.trainable_variables)
    found["official_list"] = len(model.trainable_variables_list)
    return found


def signatures(path, data):
    """The three serving signatures."""
    model = tf.saved_model.load(path)
    serve = {name: model.signatures[name] for name in model.signatures}
    floats = serve["serving_default"](images=tf.constant(data["images"]))
    pixels = serve["serving_uint8"](images=tf.constant(data["pixels"]))
    strings = list(data["encoded"])
    encoded = serve["serving_bytes"](image_bytes=tf.constant(strings))
    none = serve["serving_bytes"](image_bytes=tf.constant([b"nothing", b""]))
    good = encoded["ok"].numpy()
    return {
        "names": sorted(serve),
        "outputs": {name: sorted(function.structured_outputs) for name, function in serve.items()},
        "floats": {key: error(value, data[f"out_{key}"]) for key, value in floats.items()},
        "pixels": error(pixels["h"], data["pixels_h"]),
        "ok": good.tolist(),
        "bytes": error(encoded["h"].numpy()[good], data["encoded_h"]),
        "bad_rows": float(np.abs(encoded["h"].numpy()[~good]).max()),
        "none_ok": none["ok"].numpy().tolist(),
    }


def graph(path, _):
    """Operation types of every function in the file."""
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        meta = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0]
    nodes = [node for function in meta.graph_def.library.function for node in function.node_def]
    return {"ops": sorted({node.op for node in [*nodes, *meta.graph_def.node]})}


def _fine_tune(keras, layer, data, strategy):
    """One epoch of a classifier over `layer`: (loss history, which variables changed)."""
    with strategy.scope():
        image = keras.Input([None, None, 3])
        outputs = layer()(image)
        model = keras.Model(image, keras.layers.Dense(3)(outputs))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.05), loss)
    variables = model.layers[1].variables
    before = [v.numpy() for v in variables]
    labels = np.arange(len(data["images"])) % 3
    history = model.fit(data["images"], labels, batch_size=4, epochs=1, verbose=0)
    trainable = len(model.layers[1].trainable_weights)
    return history.history["loss"][0], {**changed(variables, before), "trainable": trainable}


def hub(path, data):
    """hub.load and hub.KerasLayer: frozen, trainable, by signature, on two replicas."""
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    )
    import tensorflow_hub
    import tf_keras as keras

    loaded = tensorflow_hub.load(path)
    images = tf.constant(data["images"])
    layer = functools.partial(tensorflow_hub.KerasLayer, path, output_key="default")
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    signed = tensorflow_hub.KerasLayer(path, signature="serving_default", output_key="h")
    vector = tensorflow_hub.KerasLayer(loaded.feature_vector, trainable=True)
    official = tensorflow_hub.KerasLayer(
        loaded, trainable=True, arguments={"trainable": True}, output_key="final_avg_pool"
    )
    return {
        "load": error(loaded(images)["h"], data["out_h"]),
        "signature": error(signed(images), data["out_h"]),
        "vector": _gradient_step(keras, vector, images, {"training": True}),
        "official": _gradient_step(keras, official, images, {}),
        "frozen": _fine_tune(keras, lambda: layer(trainable=False), data, one),
        "trainable": _fine_tune(keras, lambda: layer(trainable=True), data, one),
        "mirrored": _fine_tune(keras, lambda: layer(trainable=True), data, two),
    }


def _gradient_step(keras, layer, images, kwargs):
    """One step by hand: (loss, which variables changed)."""
    before = [v.numpy() for v in layer.variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(layer(images, **kwargs)))
    weights = layer.trainable_weights
    pairs = zip(tape.gradient(loss, weights), weights)
    keras.optimizers.SGD(0.05).apply_gradients([pair for pair in pairs if pair[0] is not None])
    return float(loss), {**changed(layer.variables, before), "trainable": len(weights)}


CHECKS = {"plain": plain, "signatures": signatures, "graph": graph, "hub": hub}


def main():
    """Runs the named checks (comma-separated)."""
    names, path, reference = sys.argv[1:4]
    with np.load(reference, allow_pickle=True) as file:
        data = dict(file)
    found = {}
    if "hub" in names:  # logical devices come before the first operation
        found["hub"] = hub(path, data)
    for name in names.split(","):
        found[name] = found.get(name) or CHECKS[name](path, data)
    assert "simclr_tf" not in sys.modules and "export" not in sys.modules
    print(json.dumps(found))


if __name__ == "__main__":
    main()
