"""`--mode=export`: a trained run -> RUN_FOLDER/saved_model/STEP, and files in converted/STEP."""

import logging
import os

from simclr_tf import config as settings_of
from simclr_tf.commands import plan
from simclr_tf.export import calibration, conversions, official, saved_model
from simclr_tf.files import PATTERN, write_atomically
from simclr_tf.models.selection import layer_index
from simclr_tf.runs import saved_models as reader
from simclr_tf.runs.files import read_json
from simclr_tf.runs.restore import load_trained
from simclr_tf.stack import tf

_LOG = logging.getLogger(__name__)
_FIGURES = {  # folder below the run folder: what of its results.json goes into the model card
    "": ("probe_top_1",),
    "linear_eval": (
        "dataset", "num_eval", "top_1", "top_1_interval", "top_5", "top_5_interval",
        "mean_per_class", "mean_per_class_interval", "few_shot", "few_shot_interval",
    ),
    "knn": ("dataset", "num_eval", "knn_top_1", "knn_top_1_interval"),
}  # fmt: skip


def run(config, given=frozenset()):
    """Exports; running it again replaces the export of the same step.

    Args:
        config: config.Export.
        given: names of the settings that the user gave.
    Returns:
        saved_model.Report, or None for a dry run.
    Raises:
        UserError: the checkpoint or the output folder cannot be used.
    """
    saved_model.check_outputs(config.export)
    formats = conversions.check_formats(config.export.export_formats)
    chosen = {name: getattr(config.model, name) for name in given if hasattr(config.model, name)}
    trained = load_trained(config.trained.checkpoint, chosen, config.run.trust_code)
    conversions.check_official(formats, trained.settings)
    h_layer = layer_index(trained.head, config.trained.ft_proj_selector)
    parent = config.run.model_dir or trained.run_dir
    directory = os.path.join(parent, "saved_model")
    saved_model.check_directory(directory, trained.settings)
    print(_plan(config, trained, directory), flush=True)
    if _channels(trained) != 3:
        _LOG.info(
            "serving_bytes is left out: encoded images are RGB, this encoder takes %d channels",
            _channels(trained),
        )
    if config.run.dry_run:
        return None
    figures = _figures(trained.run_dir, trained.step)
    about = saved_model.About(trained.settings, trained.step, trained.dataset, figures, h_layer)
    report = saved_model.export_saved_model(
        trained.encoder, trained.head, trained.probe, directory, about, config.export
    )
    print(_summary(report), flush=True)
    if PATTERN.search(report.path):
        print(
            "note: TensorFlow reads * ? [ ] and \\ in a path as a pattern; copy the folder to a "
            "path without them before others load it.",
            flush=True,
        )
    for kind in formats:
        print(_convert(report.path, kind, parent, trained), flush=True)
    return report


def _channels(trained):
    return settings_of.section_from(settings_of.Model, trained.settings).image_channels


def _signatures(trained):
    names = ("serving_default", "serving_uint8", "serving_bytes")
    return names if _channels(trained) == 3 else names[:2]


def converted_files(parent, step, formats):
    """{format: path} of the converted files (of an official checkpoint: the folder).

    Args:
        parent: folder that holds saved_model.
        step: of the exported run.
        formats: names of `conversions.FORMATS`.
    """
    folder = os.path.join(parent, "converted", str(step))
    names = {kind: kind if kind in conversions.OFFICIAL else f"{kind}.tflite" for kind in formats}
    if "onnx" in names:
        names["onnx"] = "onnx.onnx"
    return {kind: os.path.join(folder, name) for kind, name in names.items()}


def _convert(path, kind, parent, trained):
    """Writes one converted file; returns the line to print."""
    target = converted_files(parent, trained.step, [kind])[kind]
    if kind in conversions.OFFICIAL:
        return official.write_checkpoint(target, conversions.OFFICIAL[kind], trained)
    size = trained.settings["image_size"]
    samples = lambda: calibration.samples(trained.settings)  # noqa: E731
    content = conversions.convert(path, kind, size, samples, _channels(trained))
    tf.io.gfile.makedirs(os.path.dirname(target))
    write_atomically(target, content)
    return f"converted to {target}: {len(content) / 1e6:.2f} MB"


def _figures(run_dir, step):
    """Accuracies of these weights from results.json files, {"linear_eval top_1": 0.9, ...}."""
    found = {}
    for folder, names in _FIGURES.items():
        path = os.path.join(run_dir, folder, "results.json")
        results = read_json(path) if tf.io.gfile.exists(path) else {}
        if results.get("step") == step:
            mode = folder or "pretrain"
            found.update({f"{mode} {name}": results[name] for name in names if name in results})
    return found


def _plan(config, trained, directory):
    settings = trained.settings
    parts = [("h", True), ("z", config.export.export_head and trained.head is not None)]
    parts += [("logits", trained.probe is not None)]
    older = [str(version) for version in reader.versions(directory)]
    rows = [
        ("source", f"{config.trained.checkpoint}, step {trained.step:,}"),
        (
            "encoder",
            settings.get("encoder")
            or f"ResNet-{settings['resnet_depth']}, width {settings['width_multiplier']:g}",
        ),  # fmt: skip
        ("parameters", f"{plan.count_parameters(trained.encoder)} trainable in the encoder"),
        ("outputs", ", ".join(name for name, there in parts if there)),
        ("dictionary", config.export.export_outputs),
        ("signatures", ", ".join(_signatures(trained))),
        ("versions there", ", ".join(older) or "none"),
        ("output", os.path.join(directory, str(trained.step))),
    ]
    return plan.format_plan("plan: export", rows)


def _summary(report):
    weights = report.weight_bytes / 1e6
    total = report.total_bytes / 1e6
    lines = [
        f"exported to {report.path}: {total:.2f} MB ({weights:.2f} MB of weights), "
        f"loads in {report.load_seconds:.1f} s, h differs by {report.error:.1e} relative",
    ]
    if report.removed:
        lines.append(f"removed older versions: {', '.join(map(str, report.removed))}")
    lines += [
        "load it with:",
        "    import tensorflow as tf",
        f'    h = tf.saved_model.load("{report.path}").feature_vector(images)',
    ]
    return "\n".join(lines)
