"""What an export leaves on disk, and reading it back into Keras models."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from simclr_tf.export import card, saved_model, signatures

from simclr_tf import config
from simclr_tf.commands import export as run
from simclr_tf.data import decoding
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.runs import saved_models as reader
from simclr_tf.stack import keras, tf
from tests import export_models as tiny


def export(directory, settings=None, parts=None, step=7, **options):
    settings = settings or tiny.make_settings(image_size=16)
    parts = parts or tiny.make_parts(settings)
    options = config.ExportSettings(**options)
    about = tiny.about(settings, step)
    return parts, saved_model.export_saved_model(*parts, str(directory), about, options)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export(tmp_path_factory.mktemp("versions") / "saved_model")


def same_values(models, others):
    for model, other in zip(models, others):
        assert len(model.weights) == len(other.weights) > 0
        for one, two in zip(model.weights, other.weights):
            np.testing.assert_array_equal(one.numpy(), two.numpy())


def test_reads_back_bit_for_bit(exported):
    parts, report = exported
    found, manifest = reader.read_parts(os.path.dirname(report.path))
    same_values(parts, found.values())
    encoder, head, settings, step = reader.load_exported(report.path)
    same_values(parts, (encoder, head))
    assert step == 7 and settings["resnet_depth"] == 10 and manifest["feature_dim"] == 64
    assert manifest["dataset"] == {"name": "digits", "num_classes": tiny.CLASSES}


def test_damage_is_reported(exported, tmp_path):
    _, report = exported
    manifest = reader.read_manifest(report.path)

    def damaged(**changes):
        copy = tmp_path / str(len(os.listdir(tmp_path)))
        for folder in ("assets", "variables"):
            os.makedirs(copy / folder)
            for name in os.listdir(os.path.join(report.path, folder)):
                os.link(os.path.join(report.path, folder, name), copy / folder / name)
        os.remove(copy / reader.MANIFEST)
        (copy / reader.MANIFEST).write_text(json.dumps({**manifest, **changes}))
        return str(copy)

    with pytest.raises(DataError, match="checksum"):
        reader.read_parts(damaged(checksum="0"))
    with pytest.raises(DataError, match="do not fit the architecture"):
        reader.read_parts(damaged(settings={**manifest["settings"], "width_multiplier": 0.25}))
    with pytest.raises(DataError, match="format 99"):
        reader.read_parts(damaged(format=99))
    with pytest.raises(DataError, match="not a SavedModel exported by simclr_tf"):
        reader.read_parts(str(tmp_path / "0" / "variables"))


def test_card_says_how_to_use_it(exported):
    _, report = exported
    with open(os.path.join(report.path, "README.md")) as file:
        card = file.read()
    manifest = reader.read_manifest(report.path)
    for text in (manifest["checksum"], "resnet_depth=10", "[0, 1]", "16 x 16", "KerasLayer"):
        assert text in card, text


def test_card_has_the_accuracies_of_these_weights_only(tmp_path):
    for folder, results in {
        "": {"step": 7, "probe_top_1": 0.5},
        "linear_eval": {
            "step": 7, "dataset": "digits", "top_1": 0.875, "top_1_interval": [0.8, 0.9375],
            "few_shot": {"1": 0.25},
        },
        "knn": {"step": 6, "knn_top_1": 0.625},
    }.items():  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "results.json").write_text(json.dumps(results))
    figures = run._figures(str(tmp_path), 7)
    want = {"pretrain probe_top_1": 0.5, "linear_eval dataset": "digits"}
    want.update({"linear_eval top_1": 0.875, "linear_eval top_1_interval": [0.8, 0.9375]})
    want["linear_eval few_shot"] = {"1": 0.25}
    assert figures == want
    settings = tiny.make_settings()
    manifest = {
        "settings": settings, "dataset": {"name": "digits", "num_train": 1437}, "step": 7,
        "feature_dim": 64, "parts": ["encoder"], "license": "Apache-2.0", "checksum": "abc",
        "versions": {}, "figures": figures,
    }  # fmt: skip
    text = card.write_card(manifest)
    assert "| linear_eval top_1_interval | 0.8000 to 0.9375 |" in text
    for row in ("| linear_eval top_1 | 0.8750 |", "| licence | Apache-2.0 |", "1,437 images"):
        assert row in text


def test_versions_are_kept_and_replaced(exported, tmp_path):
    manifest = json.dumps(reader.read_manifest(exported[1].path))

    def publish(step, content):
        os.makedirs(tmp_path / "new" / "assets")
        (tmp_path / "new" / reader.MANIFEST).write_text(manifest)
        (tmp_path / "new" / "saved_model.pb").write_text(content)
        saved_model._publish(str(tmp_path / "new"), str(tmp_path / str(step)))
        return saved_model._prune(str(tmp_path), 2, step)

    (tmp_path / "5").mkdir()  # not an export of ours: never removed
    assert [publish(3, "a"), publish(20, "b"), publish(20, "c")] == [(), (), ()]
    assert sorted(os.listdir(tmp_path)) == ["20", "3", "5"]
    assert (tmp_path / "20" / "saved_model.pb").read_text() == "c"
    assert publish(100, "d") == (3,)
    assert sorted(os.listdir(tmp_path)) == ["100", "20", "5"]
    assert publish(10, "e") == (20,)  # older than the others, but just written
    assert reader.find_version(str(tmp_path)) == str(tmp_path / "100")


def test_chosen_outputs_without_head_on_another_file_system():
    where = "ram://export_test/saved_model"
    _, report = export(where, export_head=False, export_outputs="block_group2, z,logits")
    assert report.path == where + "/7" and tf.io.gfile.listdir(where) == ["7"]
    model = tf.saved_model.load(report.path)
    assert sorted(model(tf.zeros([1, 16, 16, 3]))) == ["block_group2", "default", "h", "logits"]
    assert sorted(model.signatures["serving_default"].structured_outputs) == ["h", "logits"]
    found, manifest = reader.read_parts(where)
    assert found["head"] is None and manifest["parts"] == ["encoder", "probe"]
    with pytest.raises(SettingsError, match="'block_group5'"):
        saved_model.check_outputs(config.ExportSettings(export_outputs="h,block_group5"))


@pytest.mark.slow
def test_strategy_precision_and_freezing_leave_no_trace(tmp_path, two_replicas):
    settings = tiny.make_settings(image_size=16)
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        with two_replicas.scope():
            parts = tiny.make_parts(settings)
        parts[0].trainable = False
        _, report = export(tmp_path, settings, parts)
        assert keras.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")
    plain = tiny.make_parts(settings)  # the same seed, hence the same values
    found, _ = reader.read_parts(report.path)
    same_values(plain, found.values())
    model = tf.saved_model.load(report.path)
    images = tf.constant(np.random.default_rng(2).random([2, 16, 16, 3], np.float32))
    want = plain[0](images, training=False)
    np.testing.assert_allclose(model.feature_vector(images), want, rtol=1e-4, atol=1e-5)
    assert {v.dtype for v in model.variables} == {tf.float32}


def test_failures_leave_nothing(exported, tmp_path, monkeypatch):
    parts, report = exported
    settings = tiny.make_settings(image_size=16)
    directory = os.path.dirname(report.path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="choose a --model_dir that you can write to"):
        export(tmp_path / "file" / "saved_model", settings, parts)
    with pytest.raises(SettingsError, match="exports of another run .width_multiplier=0.125"):
        export(directory, {**settings, "width_multiplier": 0.25}, parts)
    monkeypatch.setattr(saved_model, "TOLERANCE", -1.0)
    with pytest.raises(DataError, match="differs from the trained one"):
        export(directory, settings, parts)
    assert os.listdir(directory) == ["7"]
    reader.read_parts(report.path)  # the older export is whole


@pytest.mark.parametrize(
    "kind, mode",
    [("JPEG", "RGB"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "LA"), ("BMP", "RGB"), ("GIF", "P")],
)
def test_exported_decoder_equals_ours(kind, mode):
    channels = {"L": 1, "LA": 2, "RGBA": 4}.get(mode, 3)
    values = np.random.default_rng(3).integers(0, 256, [7, 9, channels], np.uint8)
    image = Image.fromarray(values.squeeze(), None if mode == "P" else mode).convert(mode)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(file, kind, **({"exif": exif} if kind == "JPEG" else {}))
    got = signatures.decode_in_graph(tf.constant(file.getvalue()))
    assert got.shape == ((9, 7, 3) if kind == "JPEG" else (7, 9, 3))
    want = tf.data.Dataset.from_tensors(file.getvalue()).map(decoding.decode)
    np.testing.assert_array_equal(got, want.get_single_element())


def version(folder, content):
    """A folder that looks like a finished export."""
    (folder / "assets").mkdir(parents=True)
    (folder / reader.MANIFEST).write_text("{}")
    (folder / "content").write_text(content)


@pytest.mark.parametrize("exchanges", [True, False])
def test_the_old_version_is_there_until_the_new_one_is(tmp_path, monkeypatch, exchanges):
    if not exchanges:  # as on systems that cannot exchange two folders in one step
        monkeypatch.setattr(saved_model, "exchange", lambda one, other: False)
    version(tmp_path / "7", "old")
    version(tmp_path / "unfinished-0a1b2c3d", "new")
    seen = []
    real = saved_model._move

    def move(source, target):
        real(source, target)
        seen.append(reader.find_version(str(tmp_path / "7")))

    monkeypatch.setattr(saved_model, "_move", move)
    saved_model._publish(str(tmp_path / "unfinished-0a1b2c3d"), str(tmp_path / "7"))
    assert (tmp_path / "7" / "content").read_text() == "new"
    assert all(seen) and len(seen) == (0 if exchanges else 2)  # some version is always found


def test_the_next_export_mends_what_a_killed_one_left(tmp_path):
    version(tmp_path / "unfinished-0a1b2c3d", "half")
    version(tmp_path / "replaced-7", "old")  # killed between two renames
    version(tmp_path / "replaced-8", "older")
    version(tmp_path / "8", "new")
    (tmp_path / "mine").mkdir()
    assert reader.find_version(str(tmp_path / "7")) == str(tmp_path / "replaced-7")
    saved_model.mend_directory(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == ["7", "8", "mine"]
    assert (tmp_path / "7" / "content").read_text() == "old"
    assert (tmp_path / "8" / "content").read_text() == "new"


@pytest.mark.slow
@pytest.mark.one_stack
def test_a_folder_with_brackets_is_exported_and_read(tmp_path):
    parts, report = export(tmp_path / "[exp1] lr=0.3" / "saved_model")
    assert report.error < saved_model.TOLERANCE
    found, _ = reader.read_parts(report.path)
    same_values(parts, found.values())
    assert sorted(os.listdir(os.path.dirname(report.path))) == ["7"]  # neither lock nor leftovers
