"""`--mode=import_weights`: run folders out of other code's weights, and what is refused."""

import json
import os

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.__main__ import main
from simclr_tf.commands import export as export_run
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.runs import restore
from simclr_tf.stack import keras, tf
from simclr_tf.weights.importing import import_weights
from simclr_tf.weights.official import Choices
from simclr_tf.weights.official_names import official_variables, write_official
from tests.official_weights import make_release, save_release, value_of
from tests.tiny_run import save_tiny_run
from tests.weights.test_torch_weights import narrow_resnet50, write_safetensors

SLOW = pytest.mark.slow
OUTSIDE = ["--strategy=default", "--dataset=digits"]


@pytest.fixture(scope="module")
def networks():
    """Encoder, head and classifier with random statistics and scales."""
    model = config.Model(resnet_depth=10, width_multiplier=0.0625, num_proj_layers=3)
    encoder = build_encoder(model, 16)
    head = build_head(model, encoder.feature_dim)
    classifier = LinearClassifier(5)
    classifier(tf.zeros([1, encoder.feature_dim]))
    for name, variable in official_variables(encoder, head, classifier).items():
        variable.assign(value_of(name, variable.shape))
    return encoder, head, classifier


@pytest.fixture(scope="module")
def release(networks, tmp_path_factory):
    """An official SavedModel that was fine-tuned from the head's first layer."""
    path = tmp_path_factory.mktemp("official") / "saved_model"
    return save_release(make_release(networks, selector=1), networks, str(path))


@pytest.fixture(scope="module")
def imported(release, tmp_path_factory):
    """(run folder of the import, what was printed)."""
    folder = tmp_path_factory.mktemp("imported") / "run"
    arguments = [f"--source={release}", f"--model_dir={folder}", "--image_size=16"]
    assert main(["--mode=import_weights", *arguments]) == 0
    return str(folder)


def test_an_official_saved_model_becomes_a_run_folder(imported, networks):
    with open(os.path.join(imported, "results.json")) as file:
        results = json.load(file)
    assert results["matched"] == sum(len(part.weights) for part in networks)
    assert results["missing"] == 0 and results["classifier_reads_layer"] == 1
    assert len(results["differences"]) == 10 and max(results["differences"].values()) < 1e-5
    trained = restore.load_trained(imported)
    assert trained.settings["ft_proj_selector"] == 1 and trained.dataset["num_classes"] == 5
    for part, want in zip((trained.encoder, trained.head, trained.probe), networks):
        for a, b in zip(part.get_weights(), want.get_weights()):
            np.testing.assert_array_equal(a, b)


def test_the_report_is_printed(release, tmp_path, capsys):
    arguments = [f"--source={release}", f"--model_dir={tmp_path / 'run'}", "--dry_run"]
    assert main(["--mode=import_weights", *arguments]) == 0
    said = capsys.readouterr().out
    assert "resnet_depth=10, width_multiplier=0.0625" in said
    assert "0 missing" in said and "largest difference: " in said
    assert "classifier: 5 classes, reads layer 1 of the projection head (measured)" in said
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_a_saved_model_is_a_checkpoint_without_being_imported(release, networks, policy):
    keras.mixed_precision.set_global_policy(policy)
    try:
        trained = restore.load_trained(release)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert trained.run_dir == os.path.dirname(release)
    assert trained.encoder.compute_dtype == ("bfloat16" if "b" in policy else "float32")
    for a, b in zip(trained.encoder.get_weights(), networks[0].get_weights()):
        np.testing.assert_array_equal(a, b)


@pytest.mark.one_stack
def test_evaluation_takes_it(imported, tmp_path):
    flags = [*OUTSIDE, f"--model_dir={tmp_path / 'knn'}"]
    assert main(["--mode=knn", f"--checkpoint={imported}", *flags]) == 0


@pytest.mark.one_stack
@pytest.mark.slow
def test_evaluation_takes_the_release_itself(release, tmp_path):
    flags = [*OUTSIDE, f"--model_dir={tmp_path / 'linear'}", "--linear_form=paper"]
    flags += ["--train_epochs=1", "--few_shot_draws=1", "--nobaselines"]
    assert main(["--mode=linear_eval", f"--checkpoint={release}", *flags]) == 0


@pytest.mark.current_stack
@pytest.mark.parametrize("selector", [pytest.param(0, marks=SLOW), 1, pytest.param(-1, marks=SLOW)])
def test_the_export_has_the_logits_of_the_release_and_the_selected_h(
    selector, imported, networks, tmp_path
):
    values = {"checkpoint": imported, "model_dir": str(tmp_path), "ft_proj_selector": selector}
    report = export_run.run(config.build(config.Export, values), frozenset(values))
    images = np.random.default_rng(1).random([2, 16, 16, 3], np.float32)
    loaded = tf.saved_model.load(report.path)
    found = loaded(images)
    encoder, head, classifier = networks
    layers = head.outputs(encoder(images))
    close = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(found["h"], layers[selector], **close)
    np.testing.assert_allclose(loaded.feature_vector(images), layers[selector], **close)
    np.testing.assert_allclose(found["logits"], classifier(layers[1]), **close)
    np.testing.assert_allclose(found["final_avg_pool"], layers[0], **close)
    assert restore.load_trained(report.path).settings["ft_proj_selector"] == 1


def test_images_must_be_named(imported, tmp_path, capsys):
    assert main(["--mode=knn", f"--checkpoint={imported}", "--strategy=default"]) == 2
    assert "give --dataset=NAME, --image_dir=DIR or --shards=PATTERN" in capsys.readouterr().err
    folder = tmp_path / "run"
    prefix = str(tmp_path / "ckpt")
    write_official(prefix, *_tiny_head())
    arguments = [f"--source={prefix}", f"--model_dir={folder}", "--dataset=digits"]
    assert main(["--mode=import_weights", *arguments, "--sk_ratio=0"]) == 0
    assert restore.load_trained(str(folder)).settings["dataset"] == "digits"


def _tiny_head():
    model = config.Model(resnet_depth=10, width_multiplier=0.0625, proj_head_mode="linear")
    encoder = build_encoder(model, 16)
    return encoder, build_head(model, encoder.feature_dim)


@pytest.mark.parametrize("layout", ["tf2", "tf1"])
def test_checkpoints_become_run_folders(layout, networks, tmp_path, capsys):
    folder = tmp_path / "run"
    write_official(str(tmp_path / "ckpt"), *networks, layout=layout)
    arguments = [f"--source={tmp_path / 'ckpt'}", f"--model_dir={folder}", "--sk_ratio=0"]
    assert main(["--mode=import_weights", *arguments]) == 3
    assert "such as --ft_proj_selector=0" in capsys.readouterr().err
    assert main(["--mode=import_weights", *arguments, "--ft_proj_selector=1"]) == 0
    said = capsys.readouterr().out
    assert "outputs: not compared" in said and "reads layer 1 of the projection head (" in said
    trained = restore.load_trained(str(folder))
    assert trained.settings["ft_proj_selector"] == 1
    for a, b in zip(trained.head.get_weights(), networks[1].get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_pytorch_file_becomes_a_run_folder(tmp_path):
    path = write_safetensors(tmp_path / "r50.safetensors", narrow_resnet50())
    arguments = [f"--source={path}", f"--model_dir={tmp_path / 'run'}", "--image_size=32"]
    assert main(["--mode=import_weights", *arguments]) == 0
    trained = restore.load_trained(str(tmp_path / "run"))
    assert trained.settings["pool_padding"] == "symmetric"
    assert trained.settings["input_norm"] == "imagenet" and trained.settings["stem"] == "imagenet"


@pytest.mark.slow
@pytest.mark.one_stack
def test_the_way_back_to_the_official_code(imported, networks, tmp_path, capsys):
    flags = [f"--checkpoint={imported}", f"--model_dir={tmp_path}"]
    formats = "--export_formats=official_tf2,official_tf1"
    assert main(["--mode=export", *flags, formats]) == 0
    for layout in ("tf2", "tf1"):
        folder = str(tmp_path / "converted" / "0" / f"official_{layout}")
        back = import_weights(folder, choices=Choices(selector=1, sk_ratio=0.0))
        for part, want in zip((back.encoder, back.head, back.classifier), networks):
            for a, b in zip(part.get_weights(), want.get_weights()):
                np.testing.assert_array_equal(a, b)
    other = save_tiny_run(tmp_path, proj_bn="hidden")
    assert main(["--mode=export", f"--checkpoint={other}", formats]) == 2
    assert "the official code has no proj_bn=hidden" in capsys.readouterr().err
