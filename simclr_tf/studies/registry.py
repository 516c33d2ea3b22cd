"""The studies of arXiv:2002.05709, by name, and the three scales at which they run."""

from typing import Dict, List

from simclr_tf.evaluation.transfer_sets import find_sets
from simclr_tf.studies import paper
from simclr_tf.studies.plan import Finding, Measure, Place, Plan, Row, Scale, Study

TOP_1 = "top-1"
_NO_BLUR = "The blur is a tenth of the side wide: below 20 pixels it changes nothing."
_PAIRS = ("crop", "cutout", "color", "sobel", "noise", "blur", "rotate")


def make_scale(name: str, digits: bool, datasets: str = "") -> Scale:
    """The settings of a scale.

    Args:
        name: tiny, small or paper.
        digits: whether the images are the embedded digits, which have views of their own.
        datasets: of the study `transfer`, as of --mode=transfer; "" takes those of the scale.
    """
    quiet = {"effective_rank_steps": 0, "lineareval_while_pretraining": False, "keep_checkpoint_max": 1}  # fmt: skip
    pretrain = {**quiet, **_PRETRAIN[name]}
    if name == "tiny":
        pretrain.update(_DIGITS if digits else _TINY_IMAGES)
    views = ("aug_impl", "crop_area_min", "flip", "rotate_degrees", "shear")
    net = ("image_size", "resnet_depth", "width_multiplier")
    supervised = {n: pretrain[n] for n in (*views, *net) if n in pretrain}
    supervised.update(_SUPERVISED[name])
    linear = Measure("linear_eval", ("top_1",))
    words = "top-1 of a linear classifier on h, all labels"
    if name == "tiny":
        linear = Measure("linear_eval", ("few_shot", "1"))
        words = "top-1 of a linear classifier on h, one label per class, mean of 10 draws"
    evaluation = {
        "linear_eval": _LINEAR[name],
        "probe": {"tiny": {"probe_hidden": 64, "probe_epochs": 5}}.get(name, {}),
        "finetune": {"baselines": False, "supervised_baseline": True, **_SUPERVISED[name]},
        "transfer": {"datasets": datasets or _TRANSFER[name]},
    }
    return Scale(name, pretrain, supervised, linear, words, digits, evaluation)


_TRANSFER = {"tiny": "digits", "small": "cifar100,dtd", "paper": "paper"}
_PRETRAIN = {
    "tiny": {
        "resnet_depth": 10, "width_multiplier": 0.125, "train_batch_size": 64, "train_steps": 240,
        "temperature": 0.5, "objective": "paper", "optimizer": "adam", "learning_rate": 0.003,
        "learning_rate_scaling": "none", "warmup_epochs": 0.0, "proj_out_dim": 64,
        "checkpoint_minutes": 60.0,
    },
    "small": {  # the recipe of CIFAR-10 with a tenth of its epochs
        "image_size": 32, "resnet_depth": 18, "train_batch_size": 512, "train_epochs": 100,
        "temperature": 0.5, "learning_rate": 1.0, "warmup_epochs": 10.0, "weight_decay": 1e-6,
        "color_jitter_strength": 0.5, "use_blur": False,
    },
    "paper": {  # section 2.3
        "image_size": 224, "resnet_depth": 50, "train_batch_size": 4096, "train_epochs": 100,
        "temperature": 0.1, "learning_rate": 0.3, "warmup_epochs": 10.0, "weight_decay": 1e-6,
    },
}  # fmt: skip
_DIGITS = {
    "image_size": 16, "aug_impl": "torchvision", "crop_area_min": 0.45, "rotate_degrees": 20.0,
    "shear": 0.2, "flip": False, "use_blur": False, "color_jitter_strength": 0.5,
    "saturation": 0.0, "hue": 0.0, "grayscale_prob": 0.0,
}  # fmt: skip
_TINY_IMAGES = {"image_size": 32, "use_blur": False, "color_jitter_strength": 0.5}
_SUPERVISED = {
    "tiny": {
        "train_steps": 240, "train_batch_size": 64, "optimizer": "adam", "learning_rate": 0.003,
        "learning_rate_scaling": "none", "checkpoint_minutes": 60.0,
    },
    "small": {"train_epochs": 60, "train_batch_size": 512, "learning_rate": 0.1},
    "paper": {"train_epochs": 90, "train_batch_size": 4096, "learning_rate": 0.1, "weight_decay": 1e-4},
}  # fmt: skip
_LINEAR = {
    "tiny": {"linear_form": "fast", "baselines": False, "few_shot_draws": 10},
    "small": {"linear_form": "fast", "baselines": False, "few_shot_draws": 1},
    "paper": {
        "linear_form": "paper", "baselines": False, "few_shot_draws": 1, "train_batch_size": 4096,
        "train_epochs": 90, "learning_rate": 0.1,
    },
}  # fmt: skip


def _augmentation_pairs(scale: Scale) -> Plan:
    rows = []
    for first in _PAIRS:
        for second in _PAIRS:
            names = first if first == second else f"{first},{second}"
            # applied always: what is studied is the operator, not how often it comes
            settings = {"operators": names, "asymmetric": True, "use_blur": True, "blur_prob": 1.0}
            settings.update({} if scale.digits else {"color_jitter_strength": 1.0})
            rows.append(Row(f"{first}-{second}", settings, {(first, second): scale.main}))
    single = tuple((one, one) for one in _PAIRS)
    pairs = tuple((a, b) for a in _PAIRS for b in _PAIRS if a != b)
    best = (("crop", "color"), ("color", "crop"))
    findings = (
        Finding("two operators beat one", pairs, single),
        Finding("crop with colour beats the other pairs", best, tuple(p for p in pairs if p not in best)),
    )  # fmt: skip
    return Plan(tuple(rows), findings, "first \\ second")


def _color_strength(scale: Scale) -> Plan:
    rows: List[Row] = []
    strengths = {"1/8": 0.125, "1/4": 0.25, "1/2": 0.5, "1": 1.0}
    columns: Dict[str, Dict] = {
        name: {"color_jitter_strength": value, "use_blur": False}
        for name, value in strengths.items()
    }
    columns["1 + blur"] = {"color_jitter_strength": 1.0, "use_blur": True}
    policy = "cifar10" if scale.name == "small" else "imagenet"
    columns["AutoAugment"] = {"auto_augment": policy, "operators": "", "use_blur": False}
    kept = ("saturation", "hue", "grayscale_prob")
    ranges = {name: scale.pretrain[name] for name in kept if name in scale.pretrain}
    own = Measure("", ("top_1",))
    for number, (name, settings) in enumerate(columns.items()):
        rows.append(Row(f"simclr-{number}", settings, {("SimCLR", name): scale.main}))
        rows.append(
            Row(
                f"supervised-{number}",
                {**ranges, **settings},
                {("supervised", name): own},
                "finetune",
            )
        )
    findings = (
        Finding("SimCLR gains from stronger colour", (("SimCLR", "1"),), (("SimCLR", "1/8"),)),
        Finding("supervised training loses by it", (("supervised", "1/8"),), (("supervised", "1"),)),
        Finding("SimCLR's own colour beats AutoAugment", (("SimCLR", "1"),), (("SimCLR", "AutoAugment"),)),
    )  # fmt: skip
    return Plan(tuple(rows), findings)


def _model_size(scale: Scale) -> Plan:
    depths = scale.pick((10, 18), (18, 34, 50), (18, 34, 50, 101, 152))
    one = scale.pick(0.0625, 0.25, 1.0)
    widths = {"1x": one, "2x": 2 * one, "4x": 4 * one}
    rows = []
    for depth in depths:
        for name, width in widths.items():
            if scale.name == "paper" and depth > 50 and name == "4x":
                continue  # not in the paper
            settings = {"resnet_depth": depth, "width_multiplier": width}
            rows.append(
                Row(f"resnet{depth}-{name}", settings, {(f"ResNet-{depth}", name): scale.main})
            )
    base = scale.pick(18, 18, 50)
    own = Measure("", ("top_1",))
    for name, width in widths.items():
        settings = {"resnet_depth": base, "width_multiplier": width}
        place = (f"supervised ResNet-{base}", name)
        rows.append(Row(f"supervised-{name}", settings, {place: own}, "finetune"))
    wide = tuple((f"ResNet-{depth}", "4x") for depth in depths if depth <= 50)
    narrow = tuple((f"ResNet-{depth}", "1x") for depth in depths if depth <= 50)
    top = f"ResNet-{base}"
    findings = (
        Finding("wider networks are better", wide, narrow),
        Finding("deeper networks are better", ((f"ResNet-{depths[-1]}", "1x"),), ((f"ResNet-{depths[0]}", "1x"),)),
        Finding(
            "SimCLR gains more from width than supervised training",
            ((top, "4x"), (f"supervised {top}", "1x")),
            ((top, "1x"), (f"supervised {top}", "4x")),
        ),
    )  # fmt: skip
    return Plan(tuple(rows), findings)


def _layer(scale: Scale, selector: int) -> Measure:
    """The main figure of another layer than h."""
    main = scale.main
    return Measure(main.mode, main.keys, {**main.settings, "ft_proj_selector": selector})


def _projection_head(scale: Scale) -> Plan:
    sizes = scale.pick((16, 64), (32, 128, 512), (32, 64, 128, 256, 512, 1024, 2048))
    rows = []
    for head in ("linear", "nonlinear"):
        for size in sizes:
            settings = {"proj_head_mode": head, "proj_out_dim": size}
            cells = {
                (f"{head}, h", str(size)): scale.main,
                (f"{head}, g(h)", str(size)): _layer(scale, -1),
            }
            rows.append(Row(f"{head}-{size}", settings, cells))
    last = str(sizes[-1])
    rows.append(Row("none", {"proj_head_mode": "none"}, {("none, h", last): scale.main}))
    h = {
        head: tuple((f"{head}, h", str(size)) for size in sizes) for head in ("linear", "nonlinear")
    }
    after = tuple(("nonlinear, g(h)", str(size)) for size in sizes)
    findings = (
        Finding("a nonlinear head beats none", h["nonlinear"], (("none, h", last),)),
        Finding("a nonlinear head beats a linear one", h["nonlinear"], h["linear"]),
        Finding("a linear head beats none", h["linear"], (("none, h", last),)),
        Finding("h beats g(h)", h["nonlinear"], after),
    )
    return Plan(tuple(rows), findings)


def _what_to_predict(scale: Scale) -> Plan:
    wide = scale.pick(64, 512, 2048)
    tasks = {"rotation": "rotate", "noise": "noise", "sobel": "sobel"}
    titles = {
        "color": "colour or grayscale",
        "rotation": "rotation",
        "noise": "original or with noise",
        "sobel": "original or Sobel",
    }
    rows = []
    findings = []
    for task, title in titles.items():
        if task == "color" and scale.digits:
            continue  # they are gray
        settings: Dict = {"proj_out_dim": wide}
        if task in tasks:
            base = "color,blur" if task != "rotation" or not scale.digits else "color"
            settings.update(operators=f"{base},{tasks[task]}", study_prob=0.5)
        if task == "rotation":
            settings["study_prob"] = 1.0  # of four turns, one is none
        probe = {"probe_tasks": task}
        keys = {
            "chance": ("chance",),
            "h": ("spaces", "h", "top_1"),
            "g(h)": ("spaces", "z2", "top_1"),
        }
        cells = {
            (title, column): Measure("probe", ("tasks", task, *path), probe)
            for column, path in keys.items()
        }
        rows.append(Row(task, settings, cells))
        findings.append(
            Finding(f"h knows more than g(h): {title}", ((title, "h"),), ((title, "g(h)"),))
        )
    return Plan(tuple(rows), tuple(findings))


def _losses(scale: Scale) -> Plan:
    settings = {
        "margin": {"loss": "margin"},
        "NT-Logistic": {"loss": "nt_logistic"},
        "margin, semi-hard": {"loss": "margin", "semi_hard": True},
        "NT-Logistic, semi-hard": {"loss": "nt_logistic", "semi_hard": True},
        "NT-Xent": {"loss": "nt_xent"},
    }
    rows = []
    for number, (name, values) in enumerate(settings.items()):
        rows.append(Row(f"{number}-{values['loss']}", values, {(name, TOP_1): scale.main}))
    cell = {name: ((name, TOP_1),) for name in settings}
    hard = cell["margin, semi-hard"] + cell["NT-Logistic, semi-hard"]
    plain = cell["margin"] + cell["NT-Logistic"]
    findings = [Finding(f"NT-Xent beats {name}", cell["NT-Xent"], cell[name]) for name in settings if name != "NT-Xent"]  # fmt: skip
    findings.append(Finding("semi-hard negatives help", hard, plain))
    return Plan(tuple(rows), tuple(findings))


def _temperature(scale: Scale) -> Plan:
    rows = []
    values = [(True, 0.05), (True, 0.1), (True, 0.5), (True, 1.0), (False, 10.0), (False, 100.0)]
    names = []
    for number, (norm, value) in enumerate(values):
        name = f"{'unit length' if norm else 'as it is'}, {value:g}"
        names.append(name)
        cells = {
            (name, "entropy, nats"): Measure("", ("entropy",), percent=False),
            (name, "contrastive accuracy"): Measure("", ("contrastive_accuracy",)),
            (name, TOP_1): scale.main,
        }
        settings = {"hidden_norm": norm, "temperature": value}
        rows.append(Row(f"{number}-{'unit' if norm else 'raw'}-{value:g}", settings, cells))
    unit = tuple((name, TOP_1) for name in names[:4])
    raw = tuple((name, TOP_1) for name in names[4:])
    accuracy = [((name, "contrastive accuracy"),) for name in names]
    findings = (
        Finding("unit length helps", unit, raw),
        Finding("temperature 0.1 beats 1", (unit[1],), (unit[3],)),
        Finding("temperature 0.1 beats 0.05", (unit[1],), (unit[0],)),
        Finding("contrastive accuracy falls with the temperature", accuracy[0], accuracy[3]),
    )
    return Plan(tuple(rows), findings)


def _batch_epochs(scale: Scale) -> Plan:
    batches = scale.pick((32, 128), (128, 512, 1024), (256, 512, 1024, 2048, 4096, 8192))
    epochs = scale.pick((5, 20), (50, 100, 200), (100, 200, 400, 800))
    # both rules give the scale's peak learning rate at this batch size
    base = scale.pretrain["train_batch_size"]
    rate = scale.pretrain["learning_rate"]
    peak = rate if scale.pretrain.get("learning_rate_scaling") == "none" else rate * base / 256
    rules = {"linear": peak * 256 / base, "sqrt": peak / base**0.5}
    rows = []
    for batch in batches:
        for length in epochs:
            for rule, start in rules.items():
                settings = {
                    "train_batch_size": batch, "train_epochs": length, "train_steps": 0,
                    "learning_rate_scaling": rule, "learning_rate": start,
                }  # fmt: skip
                place = (str(batch), f"{length} {rule}")
                rows.append(
                    Row(f"batch{batch}-epochs{length}-{rule}", settings, {place: scale.main})
                )
    few, many = epochs[0], epochs[-1]
    low, high = str(batches[0]), str(batches[-1])

    def cells(batch, length):
        return tuple((batch, f"{length} {rule}") for rule in rules)

    findings = (
        Finding("larger batches are better when training is short", cells(high, few), cells(low, few)),
        Finding("longer training is better", cells(low, many) + cells(high, many), cells(low, few) + cells(high, few)),
        Finding(
            "larger batches matter less with more epochs",
            cells(high, few) + cells(low, many),
            cells(low, few) + cells(high, many),
        ),
        Finding(
            "the square-root rule helps small batches and short training",
            ((low, f"{few} sqrt"),),
            ((low, f"{few} linear"),),
        ),
    )  # fmt: skip
    return Plan(tuple(rows), findings, "batch \\ epochs")


def _semi_supervised(scale: Scale) -> Plan:
    cells = {}
    for name, share in (("1 %", 0.01), ("10 %", 0.1)):
        for row, key in (("supervised", "supervised"), ("SimCLR, fine-tuned", "fine_tuned")):
            epochs = {} if scale.name == "tiny" else {"train_epochs": 60 if share == 0.01 else 30}
            settings = {"label_fraction": share, **epochs}
            cells[row, name] = Measure("finetune", ("rows", key, "top_1"), settings)
    findings = tuple(
        Finding(f"SimCLR beats supervised training with {name} of the labels", (("SimCLR, fine-tuned", name),), (("supervised", name),))
        for name in ("1 %", "10 %")
    )  # fmt: skip
    return Plan((Row("simclr", {}, cells),), findings)


def _transfer(scale: Scale) -> Plan:
    cells: Dict[Place, Measure] = {}
    names = [one.name for one in find_sets(scale.evaluation["transfer"]["datasets"])]
    for name in names:
        for row, key in (("SimCLR, linear", "simclr"), ("untrained, linear", "untrained")):
            cells[row, name] = Measure("transfer", ("datasets", name, key, "value"))
    better = tuple(place for place in cells if place[0].startswith("SimCLR"))
    worse = tuple(place for place in cells if place[0].startswith("untrained"))
    return Plan(
        (Row("simclr", {}, cells),), (Finding("SimCLR beats the untrained encoder", better, worse),)
    )


def _broader_augmentation(scale: Scale) -> Plan:
    depth = scale.pick(10, 18, 50)
    one = scale.pick(0.125, 0.25, 1.0)
    widths = {f"ResNet-{depth}": one, f"ResNet-{depth}, 2x": 2 * one}
    widths.update(scale.pick({}, {}, {f"ResNet-{depth}, 4x": 4 * one}))
    base = "color" if not scale.pretrain.get("use_blur", True) else "color,blur"
    more = f"{base},sobel,equalize,solarize,motion_blur"
    default, broad = "default", "with Sobel, equalize, solarize, motion blur"
    rows = []
    for column, width in widths.items():
        net = {"width_multiplier": width}
        rows.append(Row(f"default-{width:g}", net, {(default, column): scale.main}))
        settings = {**net, "operators": more, "study_prob": 0.1}
        rows.append(Row(f"broader-{width:g}", settings, {(broad, column): scale.main}))
    better = tuple((broad, column) for column in widths)
    worse = tuple((default, column) for column in widths)
    return Plan(tuple(rows), (Finding("broader augmentation helps", better, worse),))


STUDIES: Dict[str, Study] = {
    study.name: study
    for study in (
        Study(
            "augmentation_pairs", "Pairs of augmentations, on one branch", "Figure 5",
            _augmentation_pairs, paper.AUGMENTATION_PAIRS, kind="heat",
            note=f"All images are cropped alike; then the operators change the first branch only. {_NO_BLUR}",
        ),
        Study(
            "color_strength", "Strength of the colour distortion", "Table 1",
            _color_strength, paper.COLOR_STRENGTH,
            note=f"The row supervised is top-1 with all labels. {_NO_BLUR}",
        ),
        Study(
            "model_size", "Depth and width", "Figure 7", _model_size, paper.MODEL_SIZE,
            note="The row supervised is top-1 with all labels.",
        ),
        Study("projection_head", "Projection heads", "Figure 8", _projection_head, paper.PROJECTION_HEAD),
        Study(
            "what_to_predict", "What h and g(h) know of a view", "Table 3",
            _what_to_predict, paper.WHAT_TO_PREDICT,
            note="Each row is a pretraining of its own, whose views have the transformation.",
        ),
        Study(
            "losses", "Losses", "Table 4", _losses, paper.LOSSES,
            note="The paper tuned the learning rate, margin and temperature of each loss. Here they are the same or the defaults.",
        ),
        Study("temperature", "Length of z and temperature", "Table 5", _temperature, paper.TEMPERATURE),
        Study(
            "batch_epochs", "Batch size, epochs and learning rate", "Figure 9, Table B.1",
            _batch_epochs, paper.BATCH_EPOCHS,
        ),
        Study(
            "semi_supervised", "Fine-tuning with few labels", "Tables 7 and B.4",
            _semi_supervised, paper.SEMI_SUPERVISED,
        ),
        Study("transfer", "Transfer to other data sets", "Tables 8 and B.5", _transfer, paper.TRANSFER),
        Study(
            "broader_augmentation", "Broader augmentation", "Appendix B.2",
            _broader_augmentation, paper.BROADER_AUGMENTATION,
            note="The paper does not state how often its operators are applied; here each with probability 0.1.",
        ),
    )
}  # fmt: skip
"""{name: Study} of all studies."""
