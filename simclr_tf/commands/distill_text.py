"""The plan of a distillation, and its table."""

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.evaluation.results import figure_text, markdown_table
from simclr_tf.evaluation.speed import size_figures
from simclr_tf.training import length

TITLES = {
    "teacher": "teacher",
    "student": "student",
    "labels_alone": "student, the labels alone",
    "tflite": "student, TensorFlow Lite",
    "tflite_float16": "student, TensorFlow Lite float16",
    "tflite_int8": "student, TensorFlow Lite int8",
}
_FIGURES = {"top_1": "top-1", "top_5": "top-5"}


def plan_text(config, start, info, labelled, strategy):
    """The plan.

    Args:
        config: resolved config.Distill.
        start: distill_start.Start.
        info: SourceInfo.
        labelled: whether the labels of the images count.
        strategy: tf.distribute.Strategy.
    """
    settings = config.distillation
    training = config.training
    optimizer = config.optimizer
    steps = length.resolve_steps(training, optimizer, info.num_train, whole=False)
    teacher = start.teacher
    sizes = [size_figures(one)["parameters"] for one in (teacher.encoder, start.encoder)]
    rows = [
        ("teacher", f"{settings.teacher}, step {teacher.step}, {start.num_classes} classes"),
        ("student", start.origin),
        ("parameters", f"{sizes[1]:,} in the student's encoder, {sizes[0]:,} in the teacher's"),
        *evaluation_run.data_rows(info, config.data),
        ("labels used", _labels_used(settings, info, labelled)),
        ("temperature", f"{settings.distill_temperature:g}"),
        ("steps", f"{steps.total:,} ({steps.per_epoch:,} per epoch), warm-up {steps.warmup:,}"),
        ("learning rate", f"peak {steps.peak_learning_rate:.6g}, {optimizer.optimizer}, cosine"),
        ("batch", f"{training.train_batch_size} images"),
        ("augmentation", _augmentation(config.views)),
        evaluation_run.strategy_row(strategy),
        ("precision", config.run.precision),
        ("converted to", settings.export_formats or "a SavedModel only"),
        ("output", config.run.model_dir or "none (dry run)"),
    ]
    return plan.format_plan("plan: distill", rows)


def _labels_used(settings, info, labelled):
    if not labelled:
        return "none"
    share = f"{settings.label_fraction:g} of each class (seed {settings.label_seed})"
    if settings.distill_label_weight:
        return (
            f"{share}, weight {settings.distill_label_weight:g}; the evaluation images' to measure"
        )
    alone = f"{share} by the student on the labels alone, and " if settings.baselines else ""
    return f"none by the distillation; {alone}those of the {info.num_eval:,} evaluation images"


def _augmentation(views):
    more = ["flip"] * views.flip + ["rotation"] * bool(views.rotate_degrees)
    more += ["shear"] * bool(views.shear)
    more += [f"colour {views.color_jitter_strength:g}"] * bool(views.color_jitter_strength)
    return ", ".join(["random crop", *more, *["blur"] * views.use_blur])


def markdown(results, lite_images):
    """results.md of a distillation.

    Args:
        results: content of results.json.
        lite_images: most evaluation images that a .tflite file is measured on.
    """
    text = f"# Distillation of {results['teacher']}\n\n{results['dataset']}: "
    text += f"{results['num_train']} training images, {results['num_labels']} labels, "
    text += f"{results['num_eval']} evaluation images, {results['num_classes']} classes. "
    text += f"The student started from {results['init']}.\n\n"
    text += markdown_table(*table(results["rows"]))
    text += (
        "\nIn brackets, 95 % intervals by Wilson. MB: weights in float32, or the size of the file. "
        "ms: one image at a time on this machine, the median of 30; TensorFlow Lite on one thread "
        "of the CPU.\n"
    )
    if results["num_eval"] > lite_images:
        text += f"TensorFlow Lite: {lite_images} of the evaluation images, drawn by the seed.\n"
    if not results["num_eval"]:
        text += "There are no labels to measure accuracy with.\n"
    if "labels_alone" in results["rows"]:
        text += (
            "The row of the labels alone is the same network from the same weights, trained with "
            "labels only for as many steps.\n"
        )
    return text


def table(rows):
    """Header and rows of the table.

    Args:
        rows: {name in TITLES: figures}.
    """
    names = [name for name in _FIGURES if all(name in figures for figures in rows.values())]
    header = ["model", *(_FIGURES[name] for name in names), "parameters", "MB", "ms per image"]
    lines = []
    for name, figures in rows.items():
        count = figures.get("parameters", rows["student"]["parameters"])
        cells = [f"{count:,}", f"{figures['megabytes']:.3g}", f"{figures['milliseconds']:.3g}"]
        lines.append([TITLES[name], *(figure_text(figures, one) for one in names), *cells])
    return header, lines
