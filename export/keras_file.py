"""Writes a trained encoder as one file of plain Keras layers, which needs no code of ours.

On the current stack it is a file of Keras 3, which any of its backends loads; on the classic stack
one of Keras 2.15. `simclr_tf.weights.keras_file` reads it back.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile

import h5py
import numpy as np
from simclr_tf.export import card, saved_model

from simclr_tf.errors import DataError, SettingsError
from simclr_tf.files import write_atomically
from simclr_tf.models import native
from simclr_tf.models.selection import select_layer
from simclr_tf.runs.files import without_non_finite
from simclr_tf.runs.run_folder import versions
from simclr_tf.stack import keras, keras_of_files, tf
from simclr_tf.weights.keras_file import FORMAT, KEY

_METADATA = "metadata.json"
_CONFIG = "config.json"
PARTS = {"h": "encoder", "z": "head", "logits": "probe"}


def outputs_of(options):
    """The outputs that the options ask for, h first.

    Args:
        options: config.ExportSettings.
    Raises:
        SettingsError: an unknown name.
    """
    names = [name.strip() for name in options.export_keras_outputs.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise SettingsError(
                f"export_keras_outputs={options.export_keras_outputs} names {name!r}; give some of "
                f"{', '.join(PARTS)}."
            )
    return tuple(name for name in PARTS if name in names or name == "h")


def check(encoder, head, probe, about, options):
    """Refuses what no .keras file can hold; arguments as of `write`.

    Raises:
        SettingsError: an encoder of the user's, an output that is not there, or one that needs
            the projection head, which is not asked for.
    """
    native.check_encoder(encoder)
    wanted = outputs_of(options)
    there = {"h": encoder, "z": head, "logits": probe}
    for name in wanted:
        if there[name] is None:
            raise SettingsError(
                f"export_keras_outputs={options.export_keras_outputs} asks for {name}, and the "
                f"checkpoint holds no {'classifier' if name == 'logits' else 'projection head'}; "
                f"leave {name} out."
            )
    layers = [about.h_layer, about.layers[1] if "logits" in wanted else 0]
    if any(layers) and "z" not in wanted:
        raise SettingsError(
            f"export_keras_outputs={options.export_keras_outputs}, but h or the classifier is "
            "computed from a layer of the projection head here; add z, which brings the head."
        )


def write(path, encoder, head, probe, about, options):
    """Writes PATH and its model card PATH.md, after the written model has repeated our outputs.

    Args:
        path: of the file; its name ends in .keras, or in .h5 for the older format. Any tf.io.gfile
            path; its folder is made if missing.
        encoder, head, probe: built Keras models of simclr_tf.models; head and probe may be None.
            They may live in a strategy or a mixed precision policy; they are not changed.
        about: saved_model.About.
        options: config.ExportSettings.
    Returns:
        saved_model.Report.
    Raises:
        SettingsError: see `check`.
        DataError: it cannot be written, or the written model does not repeat the outputs.
    """
    check(encoder, head, probe, about, options)
    wanted = outputs_of(options)
    parts = {"encoder": encoder, "head": head, "probe": probe}
    kept = {PARTS[name] for name in wanted}
    copies = saved_model.rebuild(
        {name: part if name in kept else None for name, part in parts.items()}, about
    )
    graph = native.draw(
        native.model_name(about.settings),
        *copies.values(),
        pixels=options.export_keras_input,
        layers=about.layers,
        wanted=wanted,
    )
    manifest = _manifest(copies, about, options, wanted)
    library = keras_of_files()
    with tempfile.TemporaryDirectory(prefix="simclr_tf_") as scratch:
        file = os.path.join(scratch, os.path.basename(path))
        native.build(graph, library).save(file)
        _finish(file, manifest)
        error, seconds = _verify(file, library, copies, about, options.export_keras_input)
        with open(file, "rb") as written:
            content = written.read()
    try:
        tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    except tf.errors.OpError as cause:
        raise DataError(
            f"cannot write {path} ({cause.message}); choose a place that you can write to."
        ) from cause
    write_atomically(path, content)
    write_atomically(f"{path}.md", card.write_keras_card(os.path.basename(path), manifest))
    weight_bytes = saved_model.weight_bytes(copies)
    return saved_model.Report(path, weight_bytes, len(content), seconds, error)


def _manifest(copies, about, options, wanted):
    return without_non_finite(
        {
            "format": FORMAT,
            "step": about.step,
            "outputs": list(wanted),
            "pixels": options.export_keras_input,
            "feature_dim": select_layer(
                copies["encoder"], copies["head"], about.h_layer
            ).feature_dim,
            "h_layer": about.h_layer,
            "license": options.export_license,
            "settings": about.settings,
            "dataset": about.dataset,
            "figures": about.figures,
            "versions": {**versions(), "keras": keras_of_files().__version__},
        }
    )


def _finish(path, manifest):
    """Puts the manifest where Keras keeps it without reading it, and names Keras in its own words.

    The Keras 2 API calls itself tf_keras here; others have it as `keras`, and may not have tf_keras.
    """
    if path.endswith(".h5"):
        with h5py.File(path, "a") as file:
            file.attrs["model_config"] = file.attrs["model_config"].replace('"tf_keras.', '"keras.')
            file.attrs[KEY] = json.dumps(manifest)
        return
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(f"{path}.new", "w") as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == _METADATA:
                content = json.dumps({**json.loads(content), KEY: manifest}).encode()
            if member.filename == _CONFIG:
                content = content.replace(b'"tf_keras.', b'"keras.')
            new.writestr(member, content)
    os.replace(f"{path}.new", path)


def _verify(path, library, copies, about, pixels):
    """(largest relative error of the outputs against our networks, seconds to load)."""
    side = about.settings["image_size"]
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [2, side, side, about.channels]).astype(np.uint8)
    scaled = (images / 255.0).astype(np.float32)
    given = images if pixels == "uint8" else scaled
    # Keras 2 finds layers by names that the packages keras and tf_keras both register; where both
    # are imported, it mixes their layers and loads without an end
    mixed = library is keras and "keras" in sys.modules
    found, seconds = (_used_elsewhere if mixed else _used)(path, library, given)
    error = 0.0
    for name, want in _outputs(copies, about, scaled).items():
        if name in found:
            scale = max(np.abs(want).max(), 1e-12)
            error = max(error, float(np.abs(found[name] - want).max() / scale))
    if not error <= saved_model.TOLERANCE:
        raise DataError(
            f"the plain Keras model differs from the trained one by {error:.1e} of its largest "
            f"output (at most {saved_model.TOLERANCE:.0e} is allowed); nothing was written, report "
            "this."
        )
    return error, seconds


def _used(path, library, images):
    """({output: array} of the file for images, seconds to load)."""
    started = time.perf_counter()
    loaded = library.models.load_model(path, compile=False)
    seconds = time.perf_counter() - started
    if library is keras:  # called as it is: TensorFlow 2.15 would rewrite Keras for a `predict`
        found = tf.nest.map_structure(np.asarray, loaded(images, training=False))
    else:
        found = loaded.predict_on_batch(images)
    return (found if isinstance(found, dict) else {"h": found}), seconds


_USE = """
import sys, time
import numpy as np, tf_keras
started = time.perf_counter()
model = tf_keras.models.load_model(sys.argv[1], compile=False)
seconds = time.perf_counter() - started
found = model(np.load(sys.argv[2]), training=False)
np.savez(sys.argv[3], seconds=seconds, **(found if isinstance(found, dict) else {"h": found}))
"""


def _used_elsewhere(path, library, images):
    """As `_used`, in a process that imports no other Keras."""
    del library
    given = f"{path}.images.npy"
    outputs = f"{path}.outputs.npz"
    np.save(given, images)
    command = [sys.executable, "-c", _USE, path, given, outputs]
    done = subprocess.run(command, cwd=os.path.dirname(path), capture_output=True, text=True)
    if done.returncode:
        raise DataError(
            f"Keras cannot load the file just written ({done.stderr.strip().splitlines()[-1]}); "
            "nothing was written, report this."
        )
    with np.load(outputs) as found:
        return {name: found[name] for name in found if name != "seconds"}, float(found["seconds"])


def _outputs(copies, about, images):
    """{"h", "z", "logits": array} of our networks, those that are there."""
    encoder, head, probe = copies.values()
    layers = [encoder(images, training=False)]
    if head is not None:
        layers = head.outputs(layers[0], training=False)
    found = {"h": layers[about.layers[0]]}
    if head is not None:
        found["z"] = layers[-1]
    if probe is not None:
        found["logits"] = probe(layers[about.layers[1]])
    return {name: value.numpy() for name, value in found.items()}
