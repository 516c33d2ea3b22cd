"""Tiny trained-looking models and their exports, shared by the export tests."""

import io
import os
import subprocess
import sys

import numpy as np
from PIL import Image
from simclr_tf.export import saved_model

from simclr_tf import config
from simclr_tf.data import preprocess
from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import tf

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = 40  # above 32 pixels: ImageNet stem, evaluation crop
CLASSES = 3


def make_settings(**changes):
    """Flat pretraining settings of a tiny ResNet-18."""
    values = dict(resnet_depth=10, width_multiplier=0.125, proj_out_dim=8, image_size=SIZE)
    return config.flatten(config.build(config.Pretrain, {**values, **changes}))


def make_parts(settings, seed=0):
    """(encoder, head, probe) with random values everywhere, statistics included."""
    parts = reader.build_named_parts(settings, ("encoder", "head", "probe"), CLASSES)
    rng = np.random.default_rng(seed)
    for part in parts.values():
        for variable in part.variables:
            noise = rng.normal(size=variable.shape).astype("float32")
            if "variance" in variable.name or "gamma" in variable.name:
                variable.assign(0.5 + np.abs(noise))
            elif variable.shape.rank == 1:
                variable.assign(0.1 * noise)
            elif variable.shape.rank == 2:
                variable.assign(noise / np.sqrt(variable.shape[0]))
    return tuple(parts.values())


def about(settings, step=7):
    """What an export of these tests says about itself."""
    return saved_model.About(settings, step, {"name": "digits", "num_classes": CLASSES})


def encode(image, kind):
    """An image uint8 [h, w, 3] as encoded bytes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return file.getvalue()


def write_reference(path, parts, prepare):
    """Inputs and what the Keras models make of them, as .npz.

    Args:
        path: of the file.
        parts: (encoder, head, probe).
        prepare: callable uint8 [h, w, 3] -> float32 [s, s, 3].
    """
    encoder, head, probe = parts
    rng = np.random.default_rng(1)
    images = rng.random([8, SIZE, SIZE, 3], np.float32)
    endpoints = encoder.endpoints(images, training=False)
    outputs = {name: value.numpy() for name, value in endpoints.items()}
    h = outputs["final_avg_pool"]
    layers = [layer.numpy() for layer in head.outputs(h, training=False)]
    outputs.update({f"z{i}": layer for i, layer in enumerate(layers) if i})
    outputs.update(h=h, default=h, proj_head_input=h, proj_head_output=layers[-1], z=layers[-1])
    outputs["logits"] = outputs["logits_sup"] = probe(h).numpy()
    pixels = rng.integers(0, 256, [2, 61, 47, 3], np.uint8)
    small = rng.integers(0, 256, [33, 90, 3], np.uint8)
    encoded = [encode(pixels[0], "PNG"), b"no image", encode(small, "PNG")]
    encoded += [encode(small, "PNG")[:200], encode(small, "JPEG")[:40]]

    def features(images):
        return encoder(tf.stack([prepare(image) for image in images]), training=False).numpy()

    np.savez(
        path,
        images=images,
        pixels=pixels,
        pixels_h=features(pixels),
        encoded=np.frombuffer(b"".join(encoded), np.uint8),
        encoded_ends=np.cumsum([len(one) for one in encoded]),
        encoded_h=features([pixels[0], small]),
        **{f"out_{name}": value for name, value in outputs.items()},
    )


def write_export(folder):
    """A tiny export below `folder` and what it must give; returns (Report, path of the .npz)."""
    settings = make_settings()
    reference = os.path.join(folder, "reference.npz")
    parts = make_parts(settings)
    write_reference(reference, parts, lambda image: preprocess.eval_image(image, SIZE))
    directory = os.path.join(folder, "saved_model")
    return saved_model.export_saved_model(*parts, directory, about(settings)), reference


def run_fresh(*arguments, cwd, python=sys.executable, **variables):
    """Standard output of a new Python process that cannot import simclr_tf from `cwd`.

    Args:
        *arguments: of the interpreter. cwd: folder to run in.
        python: the interpreter. **variables: of the environment, besides ours.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={**environment, "CUDA_VISIBLE_DEVICES": "-1", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


if __name__ == "__main__":
    write_export(sys.argv[1])
