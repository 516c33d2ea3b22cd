"""TFLite and ONNX files out of an exported SavedModel, and checkpoints for the official code.

TFLite and ONNX hold the signature serving_default (images float32 in [0, 1] -> h, z, logits). The
other signatures cannot be converted: TFLite and ONNX have no image decoding, and TFLite has no
bicubic resize.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import literal
from simclr_tf.stack import tf, without_notes

KERAS = {"keras": "encoder.keras", "keras_h5": "encoder.h5"}  # kind: name of the file
OFFICIAL = {"official_tf2": "tf2", "official_tf1": "tf1"}  # kind: layout of the names
FORMATS = (*KERAS, "tflite", "tflite_float16", "tflite_int8", "onnx", *OFFICIAL)
_SIGNATURE = "serving_default"
_OPSET = 17


def check_formats(text):
    """The formats named in a comma-separated text, as a tuple; none for "".

    Raises:
        SettingsError: an unknown name, or a format whose packages are not installed.
    """
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in FORMATS:
            raise SettingsError(
                f"export_formats={text} names {name!r}; give some of {', '.join(FORMATS)}."
            )
    missing = [name for name in ("tf2onnx", "onnx") if importlib.util.find_spec(name) is None]
    if "onnx" in names and missing:
        raise SettingsError(
            f"export_formats={text} needs {' and '.join(missing)}, not installed; run: pip install "
            "-r requirements-export.txt"
        )
    return names


def check_official(kinds, settings):
    """Refuses a checkpoint for the official code that it would compute other outputs with.

    Args:
        kinds: formats; settings: {setting name: value} of the pretraining.
    Raises:
        SettingsError: the official code has no such network.
    """
    known = {"encoder": "", "proj_bn": "all", "norm": "batch"}
    known.update(pool_padding="same", input_norm="none", image_channels=3)
    known.update(first_shortcut="projection", bottleneck_width=1.0, stem_padding=1)
    for name, value in known.items():
        if set(kinds) & set(OFFICIAL) and settings.get(name, value) != value:
            raise SettingsError(
                f"export_formats={','.join(kinds)}: the official code has no {name}="
                f"{settings[name]}, which this checkpoint was trained with; leave out "
                f"{' and '.join(OFFICIAL)}."
            )


def convert(path, kind, image_size, samples=None, channels=3):
    """A SavedModel as one file.

    Args:
        path: SavedModel folder on a local disk.
        kind: one of FORMATS, except those of KERAS and OFFICIAL, which need no SavedModel.
        image_size: side in pixels; TFLite files have this input size, any batch.
        samples: for tflite_int8, a callable that returns an iterable of float32 [1, s, s, c] in
            [0, 1], a few hundred typical images: they set the ranges of the activations.
        channels: c.
    Returns:
        bytes of the .tflite or .onnx file.
    Raises:
        DataError: the converter failed.
    """
    with literal(path) as readable:
        if kind == "onnx":
            return to_onnx(readable)
        return to_tflite(readable, kind, [image_size, image_size, channels], samples)


def to_tflite(path, kind, shape, samples=None):
    """See `convert`; shape: [s, s, c]. float16 halves the file; int8 quarters it, inputs stay."""
    loaded = tf.saved_model.load(path)
    spec = tf.TensorSpec([None, *shape], tf.float32, name="images")

    @tf.function(input_signature=[spec], autograph=False)
    def serving_default(images):
        return loaded.signatures[_SIGNATURE](images=images)

    function = serving_default.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], loaded)
    if kind != "tflite":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "tflite_float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind == "tflite_int8":
        converter.representative_dataset = lambda: ({"images": image} for image in samples())
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    with without_notes():
        return converter.convert()


def to_onnx(path):
    """See `convert`. Any batch, height and width."""
    with tempfile.TemporaryDirectory() as folder:
        output = os.path.join(folder, "model.onnx")
        command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", path]
        command += ["--tag", "serve", "--signature_def", _SIGNATURE]
        command += ["--opset", str(_OPSET), "--output", output]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or not os.path.exists(output):
            last = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise DataError(
                f"tf2onnx cannot convert {path} ({last}); install requirements-export.txt exactly."
            )
        with open(output, "rb") as file:
            return file.read()
