"""The settings of a run in words."""

from simclr_tf import config as settings_of
from simclr_tf.config import listed


def in_words(settings, dataset, versions):
    """[(subject, sentence)] of what a reader asks first.

    Args:
        settings: {setting name: value} of a pretraining.
        dataset: {"name", "num_train", "num_classes"} of its config.json.
        versions: {package: version} of its config.json.
    """
    s = settings
    size = s["image_size"]
    classes = dataset.get("num_classes", 0)
    labels = f"{classes:,} classes, which the encoder does not see" if classes else "no labels"
    training = f"{dataset['num_train']:,} training images, " if dataset.get("num_train") else ""
    optimizer = {"lars": "LARS", "lamb": "LAMB", "adam": "Adam", "sgd": "SGD"}
    length = f"{s['train_steps']:,} steps" if s["train_steps"] else f"{s['train_epochs']:g} epochs"
    decay = f", weight decay {s['weight_decay']:g}" if s["weight_decay"] else ""
    warmup = f", {s['warmup_epochs']:g} epochs of warm-up" if s["warmup_epochs"] else ""
    return [
        ("images", f"{dataset.get('name', '')}: {training}{labels}; {size} × {size} pixels"),
        ("views", _views(s)),
        ("encoder", _encoder(s)),
        ("head", _head(s)),
        (
            "loss",
            f"{'NT-Xent' if s['loss'] == 'nt_xent' else s['loss'].replace('_', ' ')}, temperature {s['temperature']:g}",
        ),
        (
            "optimizer",
            f"{optimizer.get(s['optimizer'], s['optimizer'])}, learning rate {s['learning_rate']:g} "
            f"({s['learning_rate_scaling'].replace('none', 'no')} scaling){decay}{warmup}",
        ),
        ("length", f"{length}, {s['train_batch_size']:,} images a step"),
        ("precision", s["precision"]),
        ("seed", str(s["seed"])),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
    ]


def _views(s):
    parts = [f"{s['num_views']} of each image: crops of {100 * s['crop_area_min']:g} to {100 * s['crop_area_max']:g} % of the area"]  # fmt: skip
    if s["flip"]:
        parts.append("flips")
    if s["color_jitter_strength"] and "color" in listed(s["operators"]):
        parts.append(f"colour of strength {s['color_jitter_strength']:g}")
    if s["use_blur"] and "blur" in listed(s["operators"]):
        parts.append(f"blur of {100 * s['blur_prob']:g} %")
    parts += [name.replace("_", " ") for name in listed(s["operators"]) if name not in ("color", "blur")]  # fmt: skip
    if s["local_views"]:
        parts.append(f"{s['local_views']} local views of {s['local_size']} pixels")
    return ", ".join(parts)


def _encoder(s):
    if s["encoder"]:
        return s["encoder"]
    extras = [f"{words} {s[name]:g}" for name, words in (("sk_ratio", "selective kernels"), ("se_ratio", "squeeze-and-excitation")) if s[name]]  # fmt: skip
    return ", ".join([f"ResNet-{s['resnet_depth']}, width × {s['width_multiplier']:g}", *extras])


def _head(s):
    if s["proj_head_mode"] == "none":
        return "none"
    layers = s["num_proj_layers"] if s["proj_head_mode"] == "nonlinear" else 1
    return f"{s['proj_head_mode']}, {layers} {'layer' if layers == 1 else 'layers'}, {s['proj_out_dim']} numbers"  # fmt: skip


def changed_settings(settings):
    """[(setting, value, help, whether it is not the default)] of all settings of a pretraining."""
    fields = settings_of.fields_of(settings_of.Pretrain)
    return [
        (name, settings[name], field.metadata["help"], settings[name] != field.default)
        for name, (_, field) in fields.items()
        if name in settings
    ]
