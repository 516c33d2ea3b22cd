"""Runs on images that are not RGB: every mode takes the channels from the pretraining."""

import glob
import json
import os

import numpy as np
import pytest
from PIL import Image

from simclr_tf import config
from simclr_tf.commands import embed as embed_run
from simclr_tf.commands import export as export_run
from simclr_tf.commands import finetune, knn, linear_eval, pretrain, probe, transfer
from simclr_tf.commands.views import run as draw_views
from simclr_tf.data import sources
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.models.build import build_encoder
from simclr_tf.report import pictures, sheet
from simclr_tf.runs import restore
from simclr_tf.stack import tf
from simclr_tf.training import replay
from simclr_tf.views import batches as input
from simclr_tf.views.channels import without_color
from simclr_tf.views.device import make_views

SIZE = 16
C = 4
NOTE = "the images have 4 channels, not RGB, so colour jitter, grayscale and AutoAugment are"


def stacks_in_folders(root, channels=C, classes=2, count=12):
    """`.npy` files of different sizes, one class with a bright first channel, one with a dark."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        os.makedirs(os.path.join(str(root), f"class{label}"), exist_ok=True)
        for number in range(count):
            image = rng.integers(60, 120, (18 + number, 30 - number, channels), np.uint8)
            image[..., 0] += np.uint8(120 * label)
            np.save(os.path.join(str(root), f"class{label}", f"{number}.npy"), image)
    return str(root)


def settings(mode, **values):
    return config.build(config.MODES[mode].config, {"strategy": "default", **values})


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of images, run folder, what was printed of the channels) of a short pretraining."""
    place = tmp_path_factory.mktemp("run")
    images = stacks_in_folders(place / "images")
    run_dir = str(place / "run")
    pretrain.run(
        settings(
            "pretrain", image_dir=images, model_dir=run_dir, image_size=SIZE, resnet_depth=10,
            width_multiplier=0.0625, train_batch_size=8, train_steps=2, warmup_epochs=0.0,
            proj_out_dim=8,
        )
    )  # fmt: skip
    return images, run_dir


def test_the_run_remembers_channels_and_views(trained):
    _, run_dir = trained
    with open(os.path.join(run_dir, "config.json")) as file:
        stored = json.load(file)["settings"]
    assert stored["image_channels"] == C and stored["color_jitter_strength"] == 0.0
    assert stored["use_blur"] and stored["flip"]
    found = restore.load_trained(run_dir)
    assert found.encoder.stem.layers[0].kernel.shape[-2] == C
    views = replay.views_of_step(run_dir, 2)["views"]
    assert views.shape == (16, SIZE, SIZE, C)


def test_one_note_and_the_plan_say_it(trained, capsys, caplog):
    caplog.set_level("INFO")
    images, run_dir = trained
    again = dict(image_dir=images, image_size=SIZE, train_batch_size=8, warmup_epochs=0.0)
    pretrain.run(settings("pretrain", dry_run=True, **again))
    text = capsys.readouterr().out
    assert caplog.text.count(NOTE) == 1 and "16 x 16 pixels, 4 channels, 2 views" in text
    asked = settings("pretrain", dry_run=True, image_channels=5, **again)
    with pytest.raises(SettingsError, match="image_channels=5, but .* have 4"):
        pretrain.run(asked, given={"image_channels"})


@pytest.mark.slow
@pytest.mark.current_stack
def test_evaluation_uses_all_channels(trained, tmp_path):
    _, run_dir = trained
    common = dict(checkpoint=run_dir, eval_batch_size=8)
    few = dict(few_shot_draws=1, train_batch_size=8, train_epochs=1, linear_form="fast")
    found = linear_eval.run(settings("linear_eval", model_dir=str(tmp_path / "l"), **common, **few))
    assert found["baselines"]["pixels"]["top_1"] == 1.0  # 4 * 16 * 16 raw values tell them apart
    near = knn.run(settings("knn", model_dir=str(tmp_path / "k"), **common))
    assert near["num_eval"] == found["num_eval"] == 4


@pytest.mark.slow
@pytest.mark.one_stack
def test_finetuning_keeps_the_channels(trained, tmp_path, caplog):
    caplog.set_level("INFO")
    _, run_dir = trained
    tuned = settings(
        "finetune", checkpoint=run_dir, model_dir=str(tmp_path / "f"), train_batch_size=8,
        train_steps=1, eval_batch_size=8, baselines=False, color_jitter_strength=1.0,
    )  # fmt: skip
    results = finetune.run(tuned, given={"color_jitter_strength"})
    assert results["step"] == 1 and NOTE in caplog.text


@pytest.mark.current_stack
def test_embedding_writes_h_and_pictures(trained, tmp_path):
    images, run_dir = trained
    out = str(tmp_path / "out")
    embed = settings("embed", checkpoint=run_dir, image_dir=images, output=out, eval_batch_size=8)
    results = embed_run.run(embed, given={"image_dir"})
    assert results["num_images"] == 24
    assert os.path.exists(os.path.join(out, "neighbours.png"))
    encoder = restore.load_trained(run_dir).encoder
    source = sources.open_whole(config.Data(image_dir=images), "train")
    (batch,) = list(input.eval_batches(source, SIZE, 24))
    h = np.load(os.path.join(out, "embeddings.npz"))["h"]
    np.testing.assert_allclose(h, encoder(batch["images"], training=False), atol=1e-5)


def test_the_export_takes_arrays_and_no_bytes(trained, capsys, caplog):
    caplog.set_level("INFO")
    _, run_dir = trained
    report = export_run.run(settings("export", checkpoint=run_dir))
    text = capsys.readouterr().out
    assert "serving_bytes is left out" in caplog.text and "serving_default, serving_uint8\n" in text
    loaded = tf.saved_model.load(report.path)
    assert set(loaded.signatures) == {"serving_default", "serving_uint8"}
    images = tf.random.stateless_uniform([2, SIZE, SIZE, C], [1, 2])
    want = restore.load_trained(run_dir).encoder(images, training=False)
    np.testing.assert_allclose(loaded.feature_vector(images), want, atol=1e-5)
    pixels = tf.cast(255.0 * images, tf.uint8)
    served = loaded.signatures["serving_uint8"](images=pixels)["h"]
    as_floats = loaded.signatures["serving_default"](images=tf.cast(pixels, tf.float32) / 255.0)
    np.testing.assert_allclose(served, as_floats["h"], atol=1e-5)
    again = restore.load_trained(report.path)
    np.testing.assert_allclose(again.encoder(images, training=False), want, atol=1e-5)
    with open(os.path.join(report.path, "README.md")) as file:
        assert "[batch, height, width, 4], 4 channels" in file.read()


@pytest.mark.slow
@pytest.mark.one_stack
def test_probe_transfer_pictures_and_tflite_take_the_channels(trained, tmp_path):
    images, run_dir = trained
    common = {"checkpoint": run_dir, "eval_batch_size": 8}
    found = probe.run(
        settings("probe", model_dir=str(tmp_path / "p"), probe_epochs=1, probe_hidden=0, **common)
    )
    assert sorted(found["tasks"]) == ["label", "noise", "rotation", "sobel"]  # no colour to tell
    short = {"max_iterations": 5, "permutations": 10}
    column = transfer.run(
        settings("transfer", model_dir=str(tmp_path / "t"), datasets=images, **short, **common)
    )["datasets"]["images"]
    assert column["simclr"]["num_eval"] + column["num_train"] == 24
    with Image.open(pictures.draw_overview(restore.load_trained(run_dir))) as picture:
        assert picture.size[0] > 600
    export_run.run(settings("export", checkpoint=run_dir, export_formats="tflite"))
    (path,) = glob.glob(os.path.join(run_dir, "converted", "2", "*.tflite"))
    runner = tf.lite.Interpreter(path).get_signature_runner("serving_default")
    rows = np.random.default_rng(1).random((2, SIZE, SIZE, C), np.float32)
    want = restore.load_trained(run_dir).encoder(rows, training=False)
    np.testing.assert_allclose(runner(images=rows)["h"], want, atol=1e-4)


def test_images_of_another_kind_are_refused_in_one_sentence(trained, tmp_path):
    _, run_dir = trained
    other = settings("knn", checkpoint=run_dir, dataset="digits", model_dir=str(tmp_path / "k"))
    with pytest.raises(DataError, match="have 3 channels, but the checkpoint was trained on 4"):
        knn.run(other, given={"dataset"})
    two = stacks_in_folders(tmp_path / "two", channels=2)
    embed = settings("embed", checkpoint=run_dir, image_dir=two, output=str(tmp_path / "e"))
    with pytest.raises(DataError, match="have 2 channels"):
        embed_run.run(embed, given={"image_dir"})


@pytest.mark.parametrize("name", ["input_norm=imagenet", "encoder=applications:MobileNetV2"])
def test_what_needs_rgb_says_so(name):
    key, value = name.split("=")
    with pytest.raises(SettingsError, match=f"{name} .*4 channels"):
        build_encoder(config.Model(**{key: value}, image_channels=C), 32)


@pytest.mark.parametrize(
    "place", ["device", *(pytest.param(one, marks=pytest.mark.slow) for one in ("host", "canvas"))]
)
def test_a_channel_is_seen_as_a_grey_image_is(tmp_path, place):
    """Without colour, views act on each channel alone: those of RGB and of 4 channels agree."""
    four = tmp_path / "four"
    three = tmp_path / "three"
    four.mkdir(), three.mkdir()
    image = np.random.default_rng(0).integers(0, 256, (40, 30, C)).astype(np.uint8)
    np.save(four / "a.npy", image)
    np.save(three / "a.npy", image[..., 1:])
    changes = {
        "device": {"operators": "blur,rotate,cutout,sobel,equalize,crop"},
        "host": {"augment_on": "host", "rotate_degrees": 9.0},
        "canvas": {"resize_on": "device", "canvas_size": 64},
    }[place]
    views = without_color(config.Views(**changes))
    made = []
    for folder in (four, three):
        source = sources.open_whole(config.Data(image_dir=str(folder)), "train")
        batch = next(iter(input.train_batches(source, views, 20, 1, seed=3)))
        made.append(make_views(views, 20, seed=3, once=True)(batch).numpy())
    assert made[0].shape == (2, 20, 20, C) and made[0].std() > 0.01
    np.testing.assert_allclose(made[0][..., 1:], made[1], atol=1e-5)


@pytest.mark.one_stack
def test_the_sheet_has_no_rows_of_colour(tmp_path):
    images = stacks_in_folders(tmp_path / "images", channels=1)
    drawn = settings("views", image_dir=images, image_size=SIZE, sheet=str(tmp_path / "v.png"))
    rows = dict(sheet.variants(without_color(drawn.views), SIZE, rgb=False))
    assert "grayscale" not in rows and "color jitter" not in rows and "sobel" in rows
    assert os.path.exists(draw_views(drawn))
