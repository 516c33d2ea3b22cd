"""The encoder as one file of plain Keras layers: written here, used where simclr_tf is not."""

import importlib.util
import json
import os
import shutil

import numpy as np
import pytest
from simclr_tf.export import keras_file, saved_model

import simclr_tf
from simclr_tf import config
from simclr_tf.commands import export as export_run
from simclr_tf.errors import SettingsError
from simclr_tf.models.custom import wrap_model
from simclr_tf.runs import restore
from simclr_tf.stack import keras, keras_of_files
from tests import export_models as tiny
from tests.tiny_run import save_tiny_run

TOLERANCE = 1e-5  # relative to the largest value of each output
CONSUMERS = os.path.join(tiny.HERE, "keras_consumers.py")
KERAS_3 = keras_of_files() is not keras


def write(path, parts, settings, **options):
    about = saved_model.About(settings, 7, {"name": "digits", "num_classes": tiny.CLASSES})
    return keras_file.write(str(path), *parts, about, config.ExportSettings(**options))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, reports): all parts with squeeze-and-excitation and the ResNet-D layers."""
    folder = tmp_path_factory.mktemp("keras")
    settings = tiny.make_settings(se_ratio=0.25, sk_ratio=0.0625)
    parts = tiny.make_parts(settings)
    tiny.write_reference(folder / "reference.npz", parts, lambda image: np.zeros([40, 40, 3], "f"))
    return folder, [
        write(folder / name, parts, settings, export_keras_outputs="h,z,logits")
        for name in ("encoder.keras", "encoder.h5")
    ]


def look(written, names, **variables):
    """What `keras_consumers.py` finds in files of the folder."""
    folder, _ = written
    clean = {"TF_USE_LEGACY_KERAS": "0", **variables}
    printed = tiny.run_fresh(CONSUMERS, "reference.npz", *names, cwd=str(folder), **clean)
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


PREDICT = """
import sys
import keras
import numpy as np
model = keras.models.load_model(sys.argv[1], compile=False)
np.save(sys.argv[3], model.predict_on_batch(np.load(sys.argv[2])))
"""


def predicted_elsewhere(path, images):
    """What `import keras` makes of images.

    Keras 2 does so in a process of its own: once both of its packages are imported, it mixes their
    layers and loads without an end.
    """
    if KERAS_3:
        return keras_of_files().models.load_model(path).predict_on_batch(images)
    folder = os.path.dirname(path)
    np.save(os.path.join(folder, "given.npy"), images)
    clean = {"TF_USE_LEGACY_KERAS": "0"}
    tiny.run_fresh("-c", PREDICT, path, "given.npy", "found.npy", cwd=folder, **clean)
    return np.load(os.path.join(folder, "found.npy"))


def check(found):
    assert found["modules"] == ["keras"]
    errors = {**found["outputs"], **found["endpoints"], "again": found["again"]}
    print(f"Keras {found['version']}: largest relative difference {max(errors.values()):.1e}")
    assert len(errors) == 14 and max(errors.values()) < TOLERANCE, errors
    assert found["group3"] == [1, 6, 4, 32]
    assert found["tuned"]["kernels"] and found["tuned"]["statistics"]
    assert not found["frozen"]["any"]
    if found["quantized"] is not None:
        assert found["quantized"] < 0.1
    assert (found["quantized"] is not None) == KERAS_3


def check_way_back(folder, extension):
    """The encoder that was fine-tuned elsewhere gives the same h here."""
    images = np.load(folder / "reference.npz")["images"]
    want = np.load(folder / f"encoder_tuned{extension}.npy")
    for name in ("tuned", "classifier"):  # saved alone, and inside a model with a classifier
        trained = restore.load_trained(str(folder / f"encoder_{name}{extension}"))
        h = trained.encoder(images, training=False).numpy()
        assert np.abs(h - want).max() < TOLERANCE * np.abs(want).max()
        assert trained.settings["image_size"] == tiny.SIZE and trained.step == 0
        assert trained.run_dir == str(folder)


@pytest.mark.slow
def test_keras_uses_it_and_gives_it_back(written):
    names = ["encoder.keras"] if KERAS_3 else ["encoder.keras", "encoder.h5"]
    for name, found in zip(names, look(written, names)):
        check(found)
        check_way_back(written[0], os.path.splitext(name)[1])


BOTH = """
import sys
import keras  # beside tf_keras
from tests.export.test_keras_file import tiny, write
settings = tiny.make_settings()
assert write(sys.argv[1], tiny.make_parts(settings), settings).error < 1e-5
"""


@pytest.mark.slow
@pytest.mark.skipif(KERAS_3, reason="Keras 3 and tf_keras share no names")
def test_it_is_written_where_both_packages_of_keras_2_are_imported(tmp_path):
    root = os.path.dirname(tiny.HERE)
    path = str(tmp_path / "encoder.keras")
    tiny.run_fresh("-c", BOTH, path, cwd=str(tmp_path), PYTHONPATH=root)
    assert os.path.getsize(path) > 100_000


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_use_it_and_give_it_back(written, backend):
    if not KERAS_3:
        pytest.skip("Keras 2 has one backend")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    (found,) = look(written, ["encoder.keras"], KERAS_BACKEND=backend)
    check(found)
    check_way_back(written[0], ".keras")


@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_the_untouched_file_is_the_whole_checkpoint(written, extension):
    folder, reports = written
    assert all(report.error < TOLERANCE for report in reports)
    settings = tiny.make_settings(se_ratio=0.25, sk_ratio=0.0625)
    trained = restore.load_trained(str(folder / f"encoder{extension}"))
    assert trained.step == 7 and trained.dataset["name"] == "digits"
    for name in config.setting_names(config.Model):
        assert trained.settings[name] == settings[name], name
    wanted = tiny.make_parts(settings)
    for one, other in zip(wanted, (trained.encoder, trained.head, trained.probe)):
        assert len(one.weights) == len(other.weights) > 0
        for mine, read in zip(one.weights, other.weights):
            np.testing.assert_array_equal(mine.numpy(), read.numpy())


def test_the_card_says_which_pixels(written, tmp_path):
    folder, _ = written
    card = (folder / "encoder.keras.md").read_text()
    for text in ("numbers in [0, 1]", "h, z, logits", "block_group3", "40 x 40"):
        assert text in card, text
    settings = tiny.make_settings(image_size=16, input_norm="imagenet")
    encoder, head, probe = tiny.make_parts(settings)
    report = write(
        tmp_path / "new" / "bytes.keras",
        (encoder, head, probe),
        settings,
        export_keras_input="uint8",
    )
    assert "numbers from 0 to 255" in (tmp_path / "new" / "bytes.keras.md").read_text()
    pixels = np.random.default_rng(0).integers(0, 256, [2, 16, 16, 3], np.uint8)
    got = predicted_elsewhere(report.path, pixels)
    want = encoder(pixels / np.float32(255), training=False).numpy()
    assert np.abs(got - want).max() < TOLERANCE * np.abs(want).max()
    again = restore.load_trained(report.path).encoder(pixels / np.float32(255), training=False)
    np.testing.assert_array_equal(again.numpy(), want)


def test_the_command_and_the_library_write_it(tmp_path, capsys):
    run = save_tiny_run(tmp_path)
    given = {"checkpoint": run, "export_formats": "keras", "export_keras_outputs": "z"}
    export_run.run(config.build(config.Export, given), frozenset(given))
    file = os.path.join(run, "converted", "7", "encoder.keras")
    assert f'keras.models.load_model("{file}")' in capsys.readouterr().out
    trained = restore.load_trained(file)
    assert (trained.run_dir, trained.step, trained.probe) == (run, 7, None)
    model = simclr_tf.load(run)
    report = model.export(tmp_path / "mine.keras", quiet=True)
    assert report["path"] == str(tmp_path / "mine.keras") and report["error"] < TOLERANCE
    assert sorted(os.listdir(tmp_path)) == ["mine.keras", "mine.keras.md", "run"]
    images = np.random.default_rng(0).integers(0, 256, [3, 20, 16, 3], np.uint8)
    again = simclr_tf.load(tmp_path / "mine.keras")
    np.testing.assert_allclose(again.embed(images), model.embed(images), rtol=1e-5, atol=1e-6)
    square = np.random.default_rng(1).random([2, 16, 16, 3], np.float32)
    (tmp_path / "used").mkdir()
    shutil.copy(tmp_path / "mine.keras", tmp_path / "used")
    got = predicted_elsewhere(str(tmp_path / "used" / "mine.keras"), square)
    np.testing.assert_allclose(got, again.encoder(square, training=False), rtol=1e-4, atol=1e-6)


def test_what_cannot_be_written_is_said(tmp_path):
    settings = tiny.make_settings(image_size=16)
    encoder, head, probe = tiny.make_parts(settings)
    own = wrap_model(keras.Sequential([keras.layers.GlobalAveragePooling2D()]), 16)
    path = tmp_path / "x.keras"
    with pytest.raises(SettingsError, match="one of your own"):
        write(path, (own, head, probe), settings)
    with pytest.raises(SettingsError, match="names 'y'; give some of h, z, logits"):
        write(path, (encoder, head, probe), settings, export_keras_outputs="y")
    with pytest.raises(SettingsError, match="holds no classifier; leave logits out"):
        write(path, (encoder, head, None), settings, export_keras_outputs="logits")
    with pytest.raises(SettingsError, match="add z"):
        write(
            path,
            (encoder, head, probe),
            {**settings, "ft_proj_selector": 1},
            export_keras_outputs="logits",
        )
    both = {"checkpoint": save_tiny_run(tmp_path), "model_dir": str(path), "export_formats": "onnx"}
    if importlib.util.find_spec("tf2onnx"):
        with pytest.raises(SettingsError, match="asks for one file"):
            export_run.run(config.build(config.Export, both), frozenset(both))
    assert not path.exists()
