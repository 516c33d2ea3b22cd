"""What users of an exported model do, in a process that never imports simclr_tf.

Usage: python export_consumers.py CHECKS SAVED_MODEL REFERENCE.npz [SAVED_MODEL REFERENCE.npz ...]
Prints one JSON object per model: what each check found. The export tests run it and assert.
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
    got = np.asarray(got)
    want = np.asarray(want)
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
    parts = np.split(data["encoded"], data["encoded_ends"][:-1])
    strings = [part.tobytes() for part in parts]
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
    one = tf.distribute.get_strategy()
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
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


def keras3(path, data):
    """Keras 3's TFSMLayer, or what says that this stack has none."""
    import keras

    if not hasattr(keras.layers, "TFSMLayer"):
        return {"version": keras.__version__}
    serving = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    layer = keras.layers.TFSMLayer(
        path, call_endpoint="serve", call_training_endpoint="train", trainable=True
    )
    image = keras.Input([40, 40, 3])
    model = keras.Model(image, keras.layers.Dense(3)(layer(image)["h"]))
    images = data["images"]
    got = layer(tf.constant(images))["h"]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.05), loss)
    variables = layer._reloaded_obj.variables
    before = [v.numpy() for v in variables]
    model.fit(images, np.arange(len(images)) % 3, batch_size=4, epochs=1, verbose=0)
    adam = keras3_step(path, images, "adam", call_training_endpoint="train")
    momentum = keras.optimizers.SGD(0.01, momentum=0.9)
    return {
        "version": keras.__version__,
        "serving": error(serving(tf.constant(images))["h"], data["out_h"]),
        "serve": error(got, data["out_h"]),
        "fine_tuned": changed(variables, before),
        "adam": adam,
        "momentum": keras3_step(path, images, momentum, call_training_endpoint="train"),
        "frozen": keras3_step(path, images, "adam", trainable=False),
    }


def keras3_step(path, images, optimizer, **options):
    """What an epoch changes in a TFSMLayer used as docs/export.md shows."""
    import keras

    layer = keras.layers.TFSMLayer(path, call_endpoint="serve", **options)
    for variable in layer.weights:
        variable._path = variable.path.replace(":", "_")
    image = keras.Input([40, 40, 3])
    model = keras.Model(image, keras.layers.Dense(3)(layer(image)["h"]))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    variables = layer._reloaded_obj.variables
    before = [v.numpy() for v in variables]
    model.fit(images, np.arange(len(images)) % 3, batch_size=4, epochs=1, verbose=0)
    return changed(variables, before)


def converted(path, data):
    """The files in converted/ next to the versions, by the TFLite and ONNX run times."""
    folder = os.path.join(os.path.dirname(os.path.dirname(path)), "converted")
    found = {}
    for name in sorted(os.listdir(folder)):
        file = os.path.join(folder, name)
        if name.endswith(".tflite"):
            runner = tf.lite.Interpreter(file).get_signature_runner("serving_default")
            out = runner(images=data["images"])
        else:
            import onnxruntime

            session = onnxruntime.InferenceSession(file)
            names = [output.name for output in session.get_outputs()]
            out = dict(zip(names, session.run(names, {"images": data["images"]})))
        errors = {key: error(value, data[f"out_{key}"]) for key, value in out.items()}
        found[name] = {"bytes": os.path.getsize(file), "error": errors}
    return found


CHECKS = {
    "plain": plain,
    "signatures": signatures,
    "graph": graph,
    "hub": hub,
    "keras3": keras3,
    "converted": converted,
}


def main():
    """Runs the named checks (comma-separated) on every pair of model and reference."""
    for path, reference in zip(sys.argv[2::2], sys.argv[3::2]):
        with np.load(reference) as file:
            data = dict(file)
        print(json.dumps({name: CHECKS[name](path, data) for name in sys.argv[1].split(",")}))
    assert "simclr_tf" not in sys.modules and "export" not in sys.modules


if __name__ == "__main__":
    main()
