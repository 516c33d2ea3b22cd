"""The model card: README.md of an exported folder, written from its manifest."""

from simclr_tf import config

_CARD = """# {title}

Image encoder pretrained without labels by SimCLR (arXiv:2002.05709), step {step}.

| | |
|---|---|
| architecture | {architecture} |
| input | float32 [batch, height, width, {channels}], {kind} in [0, 1]; trained at {size} x {size} |
| output h | float32 [batch, {feature_dim}]{h_layer} |
| parts | {parts} |
| training data | {dataset} |
| licence | {license} |
| checksum of the variables (sha256) | {checksum} |
| written with | {versions} |

## Figures

{figures}

## Use

```python
import tensorflow as tf
model = tf.saved_model.load("{folder}")
h = model.feature_vector(images)          # float32 [batch, {feature_dim}]
outputs = model(images, training=False)   # dictionary with every endpoint
```

```python
import tensorflow_hub as hub              # fine-tune: kernels and BatchNormalization change
layer = hub.KerasLayer(hub.load("{folder}").feature_vector, trainable=True)
```

`"{folder}"` is the path of this folder. `images` are already cropped and scaled to [0, 1]; do not
subtract a mean. {served} the evaluation
preprocessing: central crop of 87.5 % of the shorter side above 32 pixels, bicubic resize.
`z`, where present, is the output of the projection head, not normalised.

## Settings of the training run

```
{settings}
```
"""

_SERVED = """The serving signatures `serving_uint8` (pixels of any size) and `serving_bytes`
(encoded JPEG, PNG, BMP or GIF; `ok` is false where one cannot be decoded) contain"""
_SERVED_ARRAYS = """The serving signature `serving_uint8` (pixels of any size) contains"""


_KERAS_CARD = """# {title}

Image encoder pretrained without labels by SimCLR (arXiv:2002.05709), step {step}, as one file of
plain Keras layers. It loads without any code but Keras.

| | |
|---|---|
| architecture | {architecture} |
| input | [batch, height, width, {channels}], {kind}, {pixels}; trained at {size} x {size} |
| output h | float32 [batch, {feature_dim}]{h_layer} |
| outputs | {outputs} |
| training data | {dataset} |
| licence | {license} |
| written with | {versions} |

## Figures

{figures}

## Use

```python
import keras
model = keras.models.load_model("{file}")
h = model.predict(images)                              # {returns}
group3 = keras.Model(model.input, model.get_layer("block_group3").output)
model.trainable = False                                # freezes kernels and BatchNormalization
```

{input_sentence} Crop them first as in the evaluation: the central 87.5 % of the shorter side above
32 pixels, bicubic resize. Do not subtract a mean. Weights are found by the names of their layers,
such as `model.get_layer("initial_conv").kernel`.

## Settings of the training run

```
{settings}
```
"""

_PIXELS = {
    "unit": ("numbers in [0, 1]", "`images` are scaled to [0, 1] before."),
    "uint8": ("numbers from 0 to 255", "`images` are uint8, the first layer scales them."),
}


def write_keras_card(file, manifest):
    """Text of the card of a .keras file.

    Args:
        file: its name.
        manifest: what `export.keras_file` puts into it.
    """
    settings = manifest["settings"]
    channels = settings.get("image_channels", 3)
    layer = manifest["h_layer"]
    pixels, sentence = _PIXELS[manifest["pixels"]]
    outputs = manifest["outputs"]
    return _KERAS_CARD.format(
        title=f"SimCLR ResNet-{settings['resnet_depth']}",
        file=file,
        step=manifest["step"],
        size=settings["image_size"],
        channels=channels,
        kind="RGB" if channels == 3 else f"{channels} channels",
        pixels=pixels,
        input_sentence=sentence,
        architecture=_architecture(settings),
        feature_dim=manifest["feature_dim"],
        h_layer=f", layer {layer} of the projection head" if layer else "",
        outputs=", ".join(outputs),
        returns=f"[batch, {manifest['feature_dim']}]"
        if len(outputs) == 1
        else f"a dictionary of {', '.join(outputs)}",
        dataset=_dataset(manifest["dataset"]),
        license=manifest["license"] or "not stated",
        versions=", ".join(f"{name} {v}" for name, v in manifest["versions"].items()),
        figures=_figures(manifest["figures"]),
        settings="\n".join(f"--{name}={value}" for name, value in sorted(settings.items())),
    )


def write_card(manifest):
    """Text of the card.

    Args:
        manifest: content of settings.json, see simclr_tf.runs.saved_models.
    """
    settings = manifest["settings"]
    dataset = manifest["dataset"]
    layer = manifest.get("h_layer", 0)
    channels = settings.get("image_channels", 3)
    return _CARD.format(
        title=f"SimCLR {settings.get('encoder') or 'ResNet-' + str(settings.get('resnet_depth'))}",
        folder=manifest["step"],
        step=manifest["step"],
        size=settings["image_size"],
        channels=channels,
        kind="RGB" if channels == 3 else f"{channels} channels",
        served=_SERVED if channels == 3 else _SERVED_ARRAYS,
        architecture=_architecture(settings),
        feature_dim=manifest["feature_dim"],
        h_layer=f", layer {layer} of the projection head" if layer else "",
        parts=", ".join(manifest["parts"]),
        dataset=_dataset(dataset),
        license=manifest["license"] or "not stated",
        checksum=manifest["checksum"],
        versions=", ".join(f"{name} {v}" for name, v in manifest["versions"].items()),
        figures=_figures(manifest["figures"]),
        settings="\n".join(f"--{name}={value}" for name, value in sorted(settings.items())),
    )


def _architecture(settings):
    names = config.setting_names(config.Model)
    return ", ".join(f"{name}={settings[name]}" for name in names if name in settings)


def _dataset(dataset):
    if not dataset:
        return "not stated"
    rows = [f"{dataset.get('name', 'unnamed')}"]
    if dataset.get("num_train"):
        rows.append(f"{dataset['num_train']:,} images")
    return ", ".join(rows)


def _figures(figures):
    if not figures:
        return "None measured yet; run `--mode=linear_eval` and export again."
    lines = [f"| {name} | {_show(value)} |" for name, value in figures.items()]
    return "\n".join(["| measure | value |", "|---|---|", *lines])


def _show(value):
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_show(item)}" for key, item in value.items())
    if isinstance(value, list):  # a 95 % interval
        return " to ".join(_show(item) for item in value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)
