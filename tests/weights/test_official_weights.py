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


# the smallest network whose kernels do not tell how its shortcuts work
TINY = {"resnet_depth": 10, "width_multiplier": 0.0625, "proj_out_dim": 16}
POOLED = {**TINY, "sk_ratio": 0.0625}


def choices_for(sk_ratio=0.0):
    """Of a checkpoint whose classifier reads h."""
    return official.Choices(selector=0, sk_ratio=float(sk_ratio))


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


@pytest.mark.parametrize("name", RELEASES[:2] + [pytest.param(RELEASES[2], marks=pytest.mark.slow)])
def test_a_tf2_checkpoint_gives_the_official_outputs(name, tmp_path):
    description, outputs = load_golden(name)
    variables = [(n, key, value_of(n, shape)) for n, key, shape in description["variables"]]
    slot = ("resnet/conv2d_fixed_padding/conv2d/kernel", "a/.OPTIMIZER_SLOT/b/c", np.zeros([1]))
    counter = ("global_step", "step/.ATTRIBUTES/VARIABLE_VALUE", np.int64(5))
    prefix = str(tmp_path / "ckpt-1")
    write_object_checkpoint(prefix, [*variables, slot, counter])
    imported = official.import_official(prefix, choices_for(description["sk_ratio"]))
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


@pytest.mark.slow
def test_selective_kernels_are_within_rounding_of_float64():
    """The golden outputs are float32 too: against float64, ours are about as far off as they."""
    description, outputs = load_golden("r50_sk")
    values = {name: value_of(name, shape) for name, _, shape in description["variables"]}
    exact = outputs_of_r50_sk(values, outputs["inputs"])
    parts, unused = official.sort_by_part(values)
    found = comparing.outputs_of(
        official.build(parts, unused, "a test", choices=choices_for(0.0625)), outputs["inputs"]
    )
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
    imported = official.import_official(str(tmp_path / "model.ckpt-7"), choices_for())
    assert imported.matched == len(source) - 3 and len(imported.unused) == 3
    check_outputs(imported, outputs)
    headless = {name: v for name, v in source.items() if name.startswith("base_model")}
    save_tensors(str(tmp_path / "v1"), headless)
    imported = official.import_official(str(tmp_path / "v1"), official.Choices(sk_ratio=0.0))
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
    back = official.import_official(prefix, choices_for(settings.get("sk_ratio", 0.0)))
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


@pytest.mark.parametrize("selector", [0, pytest.param(1, marks=pytest.mark.slow)])
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


@pytest.mark.slow
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
        "is incomplete or holds": lambda n: n != removed + "/beta",
        "holds no variables named": lambda n: n.startswith("head"),
    }
    for i, (message, keep) in enumerate(cases.items()):
        prefix = str(tmp_path / f"case{i}")
        save_tensors(prefix, {name: v for name, v in variables.items() if keep(name)})
        with pytest.raises(DataError, match=message):
            official.import_official(prefix, choices_for())
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
                    shapes = kernel_shapes(depth, width, stem, sk_ratio, se_ratio)
                    want = {
                        "resnet_depth": depth, "width_multiplier": width, "stem": stem,
                        "sk_ratio": sk_ratio, "se_ratio": se_ratio,
                    }  # fmt: skip
                    found = detect(shapes, se_ratio > 0, "a test")
                    # basic blocks have no selective kernels: only the stem may tell
                    assert len(found) == (2 if depth < 50 and stem == "small" else 1)
                    assert want in found
                    given = {"sk_ratio": sk_ratio, "se_ratio": se_ratio}
                    assert detect(shapes, se_ratio > 0, "a test", **given) == [want]


def test_a_checkpoint_that_leaves_a_choice_open_is_refused(tmp_path):
    networks = small_networks(**POOLED)
    prefix = str(tmp_path / "out")
    write_official(prefix, *networks)
    with pytest.raises(DataError, match="give --sk_ratio=0 .* or --sk_ratio=0.0625"):
        official.import_official(prefix, official.Choices(selector=0))
    with pytest.raises(DataError, match=r"fits several layers: 0 \(h\), 1; .*--ft_proj_selector=0"):
        official.import_official(prefix, official.Choices(sk_ratio=0.0625))
    with pytest.raises(DataError, match=r"does not fit --ft_proj_selector=-1; it fits 0 \(h\), 1,"):
        official.import_official(prefix, official.Choices(selector=-1, sk_ratio=0.0625))
    with pytest.raises(DataError, match="are no ResNet of depth .* with --se_ratio=0.5"):
        official.import_official(prefix, official.Choices(sk_ratio=0.0, se_ratio=0.5))
    imported = official.import_official(prefix, official.Choices(selector=1, sk_ratio=0.0625))
    assert imported.selector == 1
    images = np.random.default_rng(0).random([2, 16, 16, 3], dtype="float32")
    want = networks[0](images)
    scale = float(tf.reduce_max(tf.abs(want)))
    np.testing.assert_allclose(imported.encoder(images), want, atol=1e-5 * scale)
    without = official.import_official(prefix, official.Choices(selector=1, sk_ratio=0.0))
    assert np.abs(without.encoder(images) - want).max() > 1e-3 * scale  # why it is not guessed


def test_a_classifier_is_missing_for_the_selector(tmp_path):
    encoder, _, _ = small_networks(**TINY)
    write_official(str(tmp_path / "out"), encoder)
    with pytest.raises(DataError, match="--ft_proj_selector=0 is given and .* no classifier"):
        official.import_official(str(tmp_path / "out"), official.Choices(0, 0.0))


@pytest.mark.slow
def test_pooled_shortcuts_are_measured_in_a_saved_model(tmp_path):
    imported = import_release(small_networks(**POOLED), 0, tmp_path)
    assert imported.settings["sk_ratio"] == 0.0625 and imported.selector == 0


def test_basic_blocks_of_the_tf1_code_with_selective_kernels_are_refused(tmp_path):
    write_official(str(tmp_path / "out"), *small_networks(**POOLED), layout="tf1")
    with pytest.raises(DataError, match="the TF1 code computes a ResNet-10 with sk_ratio"):
        official.import_official(str(tmp_path / "out"), official.Choices(0, 0.0625))


def test_the_second_model_of_a_process_has_numbered_names(tmp_path):
    """Keras numbers all names on: resnet_1/..., conv2d_20, projection_head_1/nl_0/dense_3."""
    networks = small_networks(**TINY)
    first = {n: v.numpy() for n, v in official_variables(*networks).items()}
    second = {}
    for name, value in first.items():
        *path, layer, leaf = name.split("/")
        kind, _, number = layer.rpartition("_")
        numbered = f"{kind}_{int(number) + 30}" if number.isdigit() else f"{layer}_30"
        root = path[0] if path[0] == "head_supervised" else f"{path[0]}_1"
        second["/".join([root, *path[1:], numbered, leaf])] = value
    assert any(name.startswith("resnet_1/conv2d_fixed_padding/conv2d_30") for name in second)
    save_tensors(str(tmp_path / "second"), second)
    choices = official.Choices(selector=0, sk_ratio=0.0)
    imported = official.import_official(str(tmp_path / "second"), choices)
    assert imported.matched == len(second) and not imported.unused
    for a, b in zip(imported.encoder.get_weights(), networks[0].get_weights()):
        np.testing.assert_array_equal(a, b)
    save_tensors(str(tmp_path / "both"), {**first, **second})
    with pytest.raises(DataError, match="several networks: resnet, resnet_1"):
        official.import_official(str(tmp_path / "both"), choices)


def tf1_forward(variables, images, training):
    """h of a ResNet-10 with the small stem in a TF1 graph; {name in the TF1 code: variable}."""
    numbers = {"conv2d": 0, "batch_normalization": 0}

    def next_of(kind):
        number = numbers[kind]
        numbers[kind] += 1
        return f"base_model/{kind}_{number}" if number else f"base_model/{kind}"

    def convolve(x, strides=1):
        kernel = variables[next_of("conv2d") + "/kernel"]
        size = int(kernel.shape[0]) - 1
        if strides > 1:
            x = tf.pad(x, [[0, 0], *[[size // 2, size - size // 2]] * 2, [0, 0]])
        return tf.nn.conv2d(x, kernel, strides, "VALID" if strides > 1 else "SAME")

    def normalize(x):
        name = next_of("batch_normalization")
        mean = variables[f"{name}/moving_mean"]
        variance = variables[f"{name}/moving_variance"]
        if training:
            mean, variance = tf.nn.moments(x, [0, 1, 2])
        return tf.nn.batch_normalization(
            x, mean, variance, variables[f"{name}/beta"], variables[f"{name}/gamma"], 1e-5
        )

    x = tf.nn.relu(normalize(convolve(images)))
    for strides in (1, 2, 2, 2):
        shortcut = normalize(convolve(x, strides))
        x = tf.nn.relu(normalize(convolve(x, strides)))
        x = tf.nn.relu(normalize(convolve(x)) + shortcut)
    return tf.reduce_mean(x, [1, 2])


def save_hub_module(path, values):
    """A module in the format of TF1 Hub: a graph without tags, and one with the tag "train"."""
    v1 = tf.compat.v1
    builder = v1.saved_model.Builder(path)
    for tags in ([], ["train"]):
        with tf.Graph().as_default(), v1.Session() as session:
            images = v1.placeholder(tf.float32, [None, None, None, 3])
            variables = {
                name: v1.get_variable(name, initializer=value, use_resource=False)
                for name, value in values.items()
            }
            h = tf1_forward(variables, images, bool(tags))
            outputs = {"default": h, "final_avg_pool": tf.identity(h)}
            signature = v1.saved_model.predict_signature_def({"images": images}, outputs)
            session.run(v1.global_variables_initializer())
            if tags:
                builder.add_meta_graph(tags, {"default": signature})
            else:
                builder.add_meta_graph_and_variables(session, tags, {"default": signature})
    builder.save()
    with open(f"{path}/tfhub_module.pb", "wb") as file:
        file.write(b"\x08\x03")  # format 3, as tensorflow-hub writes it
    return path


def test_tf1_hub_modules_are_read_and_compared(tmp_path):
    encoder, _, _ = small_networks(**TINY)
    values = {n: v.numpy() for n, v in official_variables(encoder, layout="tf1").items()}
    module = save_hub_module(str(tmp_path / "hub"), values)
    imported = official.import_official(module)
    assert imported.matched == len(values)
    assert imported.settings["sk_ratio"] == 0.0 and imported.settings["resnet_depth"] == 10
    assert max(imported.differences.values()) < 1e-5
    images = np.random.default_rng(3).random([2, 16, 16, 3], dtype="float32")
    wanted = {}
    for tags in ([], ["train"]):
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            graph = tf.compat.v1.saved_model.load(session, tags, module)
            signature = graph.signature_def["default"]
            feed = {signature.inputs["images"].name: images}
            wanted[bool(tags)] = session.run(signature.outputs["default"].name, feed)
    scale = np.abs(wanted[False]).max()
    got = imported.encoder(images, training=False)
    np.testing.assert_allclose(got, wanted[False], rtol=0, atol=1e-5 * scale)
    assert np.abs(wanted[True] - wanted[False]).max() > 1e-2 * scale  # the other graph


def test_unknown_layouts_are_refused():
    with pytest.raises(SettingsError, match="give one of tf2, tf1"):
        official_variables(*small_networks(), layout="tf3")
