"""What users of an encoder as a Keras file do, in a process that never imports simclr_tf.

Usage: python keras_consumers.py REFERENCE.npz FILE [FILE ...]; KERAS_BACKEND chooses the backend.
Writes FILE's fine-tuned encoder beside it, and prints one JSON object per file. The tests of
export/keras_file.py run it and assert.
"""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np

ENDPOINTS = (
    "initial_conv initial_max_pool block_group1 block_group2 block_group3 block_group4 "
    "final_avg_pool proj_head_input proj_head_output logits_sup"
).split()


def error(got, want):
    """Largest difference relative to the largest wanted value."""
    assert got.shape == want.shape, (got.shape, want.shape)
    return float(np.abs(got - want).max() / np.abs(want).max())


def encoder_of(path):
    """The encoder alone, under its name."""
    model = keras.models.load_model(path, compile=False)
    return keras.Model(model.input, model.get_layer("final_avg_pool").output, name=model.name)


def predict(model, images):
    """Outputs as arrays; without tracing, which takes most of the time of these tiny models."""
    model.run_eagerly = True
    return model.predict(images, verbose=0)


def with_classifier(encoder, run_eagerly):
    """A classifier on top, ready for `fit`."""
    model = keras.Sequential([encoder, keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=run_eagerly)
    return model


def values(model):
    """{layer name: list of arrays}."""
    return {layer.name: layer.get_weights() for layer in model.layers}


def fine_tuned(encoder, images, run_eagerly=False):
    """(model, which weights an epoch changed)."""
    model = with_classifier(encoder, run_eagerly)
    before = values(encoder)
    model.fit(images, np.arange(len(images)) % 3, batch_size=4, epochs=1, verbose=0)
    after = values(encoder)
    changed = {
        name: [bool((new != old).any()) for new, old in zip(after[name], before[name])]
        for name in before
    }
    kernels = [ones[0] for name, ones in changed.items() if name.endswith(("conv1", "_conv"))]
    statistics = [one for name, ones in changed.items() if "norm" in name for one in ones[2:]]
    all_of_them = [one for ones in changed.values() for one in ones]
    return model, {
        "kernels": bool(kernels) and all(kernels),
        "statistics": bool(statistics) and all(statistics),
        "any": any(all_of_them),
    }


def look(path, data):
    """What one file shows."""
    images = data["images"]
    model = keras.models.load_model(path, compile=False)
    found = predict(model, images)
    layers = {layer.name: layer for layer in model.layers}
    stages = keras.Model(model.input, {name: layers[name].output for name in ENDPOINTS})
    parts = predict(stages, images)
    group3 = keras.Model(model.input, model.get_layer("block_group3").output)

    frozen = encoder_of(path)
    frozen.trainable = False
    _, moved_frozen = fine_tuned(frozen, images, run_eagerly=True)

    encoder = encoder_of(path)
    tuned, moved = fine_tuned(encoder, images)
    base, extension = os.path.splitext(path)
    want = predict(tuned, images)
    tuned.save(f"{base}_classifier{extension}")
    again = keras.models.load_model(f"{base}_classifier{extension}")
    encoder.save(f"{base}_tuned{extension}")
    np.save(f"{base}_tuned{extension}.npy", predict(encoder, images))
    result = {
        "version": keras.__version__,
        "modules": sorted({type(layer).__module__.split(".")[0] for layer in model.layers}),
        "outputs": {name: error(found[name], data[f"out_{name}"]) for name in found},
        "endpoints": {name: error(parts[name], data[f"out_{name}"]) for name in ENDPOINTS},
        "group3": list(predict(group3, np.zeros([1, 96, 64, 3], "float32")).shape),
        "frozen": moved_frozen,
        "tuned": moved,
        "again": error(predict(again, images), want),
        "quantized": None,
    }
    if hasattr(tuned, "quantize"):
        tuned.quantize("int8")
        result["quantized"] = error(predict(tuned, images), want)
    return result


def main():
    """Looks at every file."""
    with np.load(sys.argv[1]) as file:
        data = dict(file)
    for path in sys.argv[2:]:
        print(json.dumps(look(path, data)), flush=True)
    assert not {"simclr_tf", "export", "tf_keras"} & set(sys.modules)


if __name__ == "__main__":
    main()
