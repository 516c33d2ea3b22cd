"""`--mode=export`: a trained run -> RUN_FOLDER/saved_model/STEP, and files in converted/STEP.

With a --model_dir that ends in .keras or .h5 it writes this one file and nothing else.
"""

import logging
import os

from simclr_tf import config as settings_of
from simclr_tf import phases
from simclr_tf.commands import plan
from simclr_tf.errors import SettingsError
from simclr_tf.export import calibration, conversions, keras_file, official, saved_model
from simclr_tf.files import PATTERN, write_atomically
from simclr_tf.models.selection import layer_index
from simclr_tf.runs import saved_models as reader
from simclr_tf.runs.files import read_json
from simclr_tf.runs.restore import load_trained
from simclr_tf.stack import tf
from simclr_tf.weights.keras_file import is_keras_file

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
        saved_model.Report of the SavedModel, or of the one file; None for a dry run.
    Raises:
        UserError: the checkpoint or the output folder cannot be used.
    """
    saved_model.check_outputs(config.export)
    formats = conversions.check_formats(config.export.export_formats)
    keras_file.outputs_of(config.export)
    one_file = is_keras_file(config.run.model_dir)
    if one_file and formats:
        raise SettingsError(
            f"model_dir={config.run.model_dir} asks for one file and export_formats="
            f"{config.export.export_formats} for more; give a folder as --model_dir, or leave "
            "export_formats out."
        )
    chosen = {name: getattr(config.model, name) for name in given if hasattr(config.model, name)}
    trained = load_trained(config.trained.checkpoint, chosen, config.run.trust_code)
    conversions.check_official(formats, trained.settings)
    h_layer = layer_index(trained.head, config.trained.ft_proj_selector)
    figures = _figures(trained.run_dir, trained.step)
    about = saved_model.About(trained.settings, trained.step, trained.dataset, figures, h_layer)
    if one_file or set(formats) & set(conversions.KERAS):
        keras_file.check(trained.encoder, trained.head, trained.probe, about, config.export)
    if one_file:
        return _export_file(config, trained, about)
    return _export_folder(config, trained, about, formats)


def _export_file(config, trained, about):
    """Writes the .keras or .h5 file that --model_dir names; returns its Report."""
    path = config.run.model_dir
    rows = [
        *_source_rows(config, trained),
        ("outputs", ", ".join(keras_file.outputs_of(config.export))),
    ]
    print(plan.format_plan("plan: export", [*rows, ("output", path)]), flush=True)
    if config.run.dry_run:
        return None
    parts = trained.encoder, trained.head, trained.probe
    report = keras_file.write(path, *parts, about, config.export)
    print(_keras_summary(report), flush=True)
    return report


def _export_folder(config, trained, about, formats):
    """Writes the SavedModel and the converted files; returns the Report of the SavedModel."""
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
        if kind in conversions.KERAS:
            place = os.path.join(parent, "converted", str(trained.step), conversions.KERAS[kind])
            parts = trained.encoder, trained.head, trained.probe
            print(_keras_summary(keras_file.write(place, *parts, about, config.export)), flush=True)
        else:
            print(_convert(report.path, kind, parent, trained), flush=True)
    return report


def _keras_summary(report):
    return (
        f"exported to {report.path}: {report.total_bytes / 1e6:.2f} MB, loads in "
        f"{report.load_seconds:.1f} s, outputs differ by {report.error:.1e} relative\n"
        "load it with:\n"
        "    import keras\n"
        f'    model = keras.models.load_model("{report.path}")'
    )


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
    with phases.phase(f"converting to {kind}", unit=""):
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


def _source_rows(config, trained):
    settings = trained.settings
    name = settings.get("encoder")
    network = f"ResNet-{settings['resnet_depth']}, width {settings['width_multiplier']:g}"
    return [
        ("source", f"{config.trained.checkpoint}, step {trained.step:,}"),
        ("encoder", name or network),
        ("parameters", f"{plan.count_parameters(trained.encoder)} trainable in the encoder"),
    ]


def _plan(config, trained, directory):
    parts = [("h", True), ("z", config.export.export_head and trained.head is not None)]
    parts += [("logits", trained.probe is not None)]
    older = [str(version) for version in reader.versions(directory)]
    rows = [
        *_source_rows(config, trained),
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
