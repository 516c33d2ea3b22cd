"""Importing official releases, against their golden outputs."""

import functools

import numpy as np
import pytest

from simclr_tf import config
from simclr_tf.errors import DataError, SettingsError
from simclr_tf.models.build import build_encoder, build_head
from simclr_tf.models.classifier import LinearClassifier
from simclr_tf.stack import tf
from simclr_tf.weights import comparing, official
from simclr_tf.weights.architecture import detect, kernel_shapes
from simclr_tf.weights.official_names import official_variables, write_official
from tests.float64_resnet import outputs_of_r50_sk
from tests.official_weights import (
    load_golden,
    make_release,
    save_release,
    save_tensors,
    value_of,
    write_object_checkpoint,
)

RELEASES = ["r18_small_stem", "r50", "r50_sk"]


# With these random weights the gates of selective kernels sit on the edge of a softmax: from
# group 3 on the golden outputs are themselves 2.3e-5 away from the same network in float64.
ILL_CONDITIONED = ("block_group3", "block_group4", "final", "logits", "proj_head")


def check_outputs(imported, outputs):
    """Every output of the release, 1e-5 relative to the largest value of each."""
    found = comparing.outputs_of(imported, outputs["inputs"])
    for key, want in outputs.items():
        if key == "inputs":
            continue
        got = found[key[5:]].mean((1, 2)) if key.startswith("mean_") else found[key]
        loose = imported.settings["sk_ratio"] and any(name in key for name in ILL_CONDITIONED)
        atol = (5e-5 if loose else 1e-5) * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=atol, err_msg=key)


@pytest.mark.parametrize("name", RELEASES)
def test_a_tf2_checkpoint_gives_the_official_outputs(name, tmp_path):
    description, outputs = load_golden(name)
    variables = [(n, key, value_of(n, shape)) for n, key, shape in description["variables"]]
    slot = ("resnet/conv2d_fixed_padding/conv2d/kernel", "a/.OPTIMIZER_SLOT/b/c", np.zeros([1]))
    counter = ("global_step", "step/.ATTRIBUTES/VARIABLE_VALUE", np.int64(5))
    prefix = str(tmp_path / "ckpt-1")
    write_object_checkpoint(prefix, [*variables, slot, counter])
    imported = official.import_official(prefix)
    assert imported.matched == len(variables)
    assert imported.unused == ("global_step",)
    assert imported.settings["resnet_depth"] == description["depth"]
    assert imported.settings["width_multiplier"] == description["width"]
    assert imported.settings["sk_ratio"] == description["sk_ratio"]
    assert imported.settings["num_proj_layers"] == 3
    check_outputs(imported, outputs)
    # the way back: the same names and values
    ours = official_variables(imported.encoder, imported.head, imported.classifier)
    assert sorted(ours) == sorted(n for n, _, _ in variables)
    for n, _, value in variables:
        np.testing.assert_array_equal(ours[n], value, err_msg=n)


def test_selective_kernels_are_within_rounding_of_float64():
    """The golden outputs are float32 too: against float64, ours are about as far off as they."""
    description, outputs = load_golden("r50_sk")
    values = {name: value_of(name, shape) for name, _, shape in description["variables"]}
    exact = outputs_of_r50_sk(values, outputs["inputs"])
    parts, unused = official.sort_by_part(values)
    found = comparing.outputs_of(official.build(parts, unused, "a test"), outputs["inputs"])
    for key, want in exact.items():
        golden = outputs.get(key, outputs.get("mean_" + key))
        ours = found[key]
        mean = want
        if want.ndim == 4:
            ours = ours.mean((1, 2), dtype="float64")
            mean = want.mean((1, 2))
        scale = np.abs(mean).max()
        errors = [np.abs(value - mean).max() / scale for value in (ours, golden)]
        assert errors[0] <= max(1e-5, 1.5 * errors[1]), (key, errors)


def test_tf1_checkpoints_are_flat_and_name_based(tmp_path):
    """The TF1 code numbers all layers in one scope; v1 releases have no head."""
    description, outputs = load_golden("r18_small_stem")
    source = dict(_tf1_variables(description))
    source["base_model/conv2d_3/kernel/Momentum"] = np.zeros([2], "float32")
    source["ema_model/base_model/conv2d/kernel"] = np.zeros([3, 3, 3, 64], "float32")
    source["global_step"] = np.int64(7)
    save_tensors(str(tmp_path / "model.ckpt-7"), source)
    imported = official.import_official(str(tmp_path / "model.ckpt-7"))
    assert imported.matched == len(source) - 3 and len(imported.unused) == 3
    check_outputs(imported, outputs)
    headless = {name: v for name, v in source.items() if name.startswith("base_model")}
    save_tensors(str(tmp_path / "v1"), headless)
    imported = official.import_official(str(tmp_path / "v1"))
    assert imported.head is None and imported.classifier is None
    assert imported.settings["proj_head_mode"] == "none"
    h = comparing.outputs_of(imported, outputs["inputs"])["final_avg_pool"]
    np.testing.assert_allclose(h, outputs["final_avg_pool"], atol=1e-5 * h.max())


def _tf1_variables(description):
    """The golden weights under the names of the TF1 code."""
    scopes = {"resnet": "base_model", "projection_head": "head_contrastive"}
    for name, _, shape in description["variables"]:
        path = name.replace("sync_batch", "batch").split("/")
        layer, leaf = path[-2:]
        if path[0] == "resnet":
            yield f"base_model/{layer}/{leaf}", value_of(name, shape)
        else:
            inner = layer.rsplit("_", 1)[0] if layer[-1].isdigit() else layer
            yield f"{scopes.get(path[0], path[0])}/{path[1]}/{inner}/{leaf}", value_of(name, shape)


@functools.lru_cache(maxsize=None)
def small_networks(**settings):
    """Encoder, head and classifier with random statistics and scales; tests do not change them."""
    model = config.Model(**{"resnet_depth": 18, "width_multiplier": 0.25, **settings})
    encoder = build_encoder(model, 16)
    head = build_head(model, encoder.feature_dim)
    classifier = LinearClassifier(5)
    classifier(tf.zeros([1, encoder.feature_dim]))
    variables = official_variables(encoder, head, classifier)
    for name, variable in variables.items():
        variable.assign(value_of(name, variable.shape))
    return encoder, head, classifier


@pytest.mark.parametrize("layout", ["tf2", "tf1"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stem": "imagenet", "se_ratio": 0.25, "proj_head_mode": "linear"},
        {"resnet_depth": 50, "sk_ratio": 0.125, "num_proj_layers": 4},
        {"resnet_depth": 50, "sk_ratio": 0.0625, "stem": "imagenet", "global_bn": False},
    ],
)
def test_our_networks_go_out_and_come_back(layout, settings, tmp_path):
    encoder, head, classifier = small_networks(**settings)
    prefix = str(tmp_path / "out")
    names = write_official(prefix, encoder, head, classifier, layout)
    back = official.import_official(prefix)
    assert back.matched == len(names) and not back.unused
    for ours, theirs in ((encoder, back.encoder), (head, back.head), (classifier, back.classifier)):
        for a, b in zip(ours.get_weights(), theirs.get_weights()):
            np.testing.assert_array_equal(a, b)


def test_official_code_restores_by_name_what_we_write(tmp_path):
    """tf.train.Checkpoint matches variables by name when a file has no object graph."""
    encoder, _, _ = small_networks()
    prefix = str(tmp_path / "out")
    write_official(prefix, encoder)
    name = "resnet/block_group1/residual_block/conv2d_fixed_padding_1/conv2d_1/kernel"
    want = encoder.groups[0].blocks[0].shortcut.convolution.kernel
    model = tf.Module()
    model.kernel = tf.Variable(tf.zeros(want.shape), name=name)
    tf.train.Checkpoint(model=model).restore(prefix).expect_partial()
    np.testing.assert_array_equal(model.kernel, want)


@pytest.mark.parametrize("selector", [0, 1])
def test_saved_models_are_compared_output_by_output(selector, tmp_path):
    networks = small_networks()
    imported = import_release(networks, selector, tmp_path)
    assert imported.selector == selector
    assert max(imported.differences.values()) < 1e-5
    assert {"initial_conv", "final_avg_pool", "proj_head_output", "logits_sup"} <= set(
        imported.differences
    )


def import_release(networks, selector, tmp_path, factor=1.0):
    """Saves a release as the official code does and imports it."""
    release = make_release(networks, selector, factor)
    return official.import_official(save_release(release, networks, str(tmp_path / "r")))


def test_different_outputs_are_refused(tmp_path):
    with pytest.raises(DataError, match="output block_group2 .*the weights are not taken over"):
        import_release(small_networks(), 0, tmp_path, factor=1.001)


def test_incomplete_and_foreign_sources_get_one_sentence(tmp_path):
    encoder, head, classifier = small_networks()
    variables = {n: v.numpy() for n, v in official_variables(encoder, head, classifier).items()}
    removed = "resnet/block_group2/residual_block_2/batch_norm_relu_7/sync_batch_normalization_7"
    cases = {
        "are no ResNet": lambda n: not n.startswith("resnet/block_group3"),
        "the file is incomplete": lambda n: not n.startswith(removed),
        "is incomplete or not": lambda n: n != removed + "/beta",
        "holds no variables named": lambda n: n.startswith("head"),
    }
    for i, (message, keep) in enumerate(cases.items()):
        prefix = str(tmp_path / f"case{i}")
        save_tensors(prefix, {name: v for name, v in variables.items() if keep(name)})
        with pytest.raises(DataError, match=message):
            official.import_official(prefix)
    with pytest.raises(DataError, match="holds no saved_model.pb and no checkpoint"):
        official.import_official(str(tmp_path / "nothing"))


def test_truncated_files_get_one_sentence(tmp_path):
    encoder, head, classifier = small_networks()
    prefix = tmp_path / "cut"
    write_official(str(prefix), encoder, head, classifier)
    data = tmp_path / "cut.data-00000-of-00001"
    whole = data.read_bytes()
    data.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        official.import_official(str(prefix))
    (tmp_path / "cut.index").write_bytes(b"not an index")
    with pytest.raises(DataError, match="cannot be read"):
        official.import_official(str(prefix))


def test_every_architecture_is_recognised():
    for depth in (10, 18, 34, 50, 101, 152, 200):
        for width in (0.25, 1, 2, 3, 4):
            for stem in ("imagenet", "small"):
                for sk_ratio, se_ratio in ((0, 0), (0.0625, 0), (0, 0.25), (0.0625, 0.25)):
                    if sk_ratio and depth < 50 and stem == "small":
                        continue  # no kernel tells: basic blocks have no selective kernels
                    shapes = kernel_shapes(depth, width, stem, sk_ratio, se_ratio)
                    want = {
                        "resnet_depth": depth, "width_multiplier": width, "stem": stem,
                        "sk_ratio": sk_ratio, "se_ratio": se_ratio,
                    }  # fmt: skip
                    assert detect(shapes, se_ratio > 0, "a test") == want


def test_unknown_layouts_are_refused():
    with pytest.raises(SettingsError, match="give one of tf2, tf1"):
        official_variables(*small_networks(), layout="tf3")
