"""`--mode=import_weights`: weights of other code -> a run folder that every other mode accepts."""

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.commands import plan
from simclr_tf.runs import restore
from simclr_tf.runs.checkpoints import save_parts
from simclr_tf.runs.files import write_json
from simclr_tf.runs.lock import releases
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.weights.importing import import_weights
from simclr_tf.weights.official import Choices

SHOWN = 5  # names of unused variables that are printed


@releases
def run(config, given=frozenset()):
    """Imports, compares, reports, and writes config.json, a checkpoint and results.json.

    Args:
        config: config.ImportWeights.
        given: names of the settings that the user gave; those of the images are recorded for the
            later modes, others stay unknown.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: the source or the run folder cannot be used, or the outputs differ.
    """
    options = config.weights
    imported = import_weights(
        options.source, options.source_prefix, options.source_input_norm, _choices(config, given)
    )
    chosen = set(settings_of.setting_names(settings_of.Data)) & set(given)
    data = {name: getattr(config.data, name) for name in chosen}
    trained = restore.from_imported(imported, config.run.model_dir, data)
    results = _results(options.source, imported)
    print(_summary(results, imported), flush=True)
    if config.run.dry_run:
        return None
    folder = RunFolder(config.run.model_dir)
    stored = {**trained.settings, "model_dir": folder.path, "source": options.source}
    free = settings_of.free_settings(settings_of.Pretrain)
    folder.claim("import_weights", stored, free, trained.dataset)
    parts = {"encoder": trained.encoder, "head": trained.head, "probe": trained.probe}
    parts = {name: part for name, part in parts.items() if part is not None}
    save_parts(folder.join("checkpoints"), trained.step, **parts)
    write_json(folder.join("results.json"), results)
    print(f"written to {folder.path}; use it as --checkpoint={folder.path}")
    print(plan.next_line(f"linear_eval --checkpoint={folder.path} --dataset=NAME"), flush=True)
    return results


def _choices(config, given):
    """What the command line says of the weights."""
    options = config.weights
    return Choices(
        selector=options.ft_proj_selector if "ft_proj_selector" in given else None,
        sk_ratio=options.sk_ratio if "sk_ratio" in given else None,
        se_ratio=options.se_ratio if "se_ratio" in given else None,
        stem_padding=options.stem_padding if "stem_padding" in given else None,
        trust_code=config.run.trust_code,
    )


def _results(source, imported):
    return {
        "mode": "import_weights",
        "step": 0,
        "source": source,
        "architecture": imported.settings,
        "classifier_reads_layer": imported.selector if imported.classifier is not None else None,
        "matched": imported.matched,
        "missing": 0,  # a variable of ours without a source is an error
        "unused": list(imported.unused),
        "skipped_objects": list(imported.skipped),
        "differences": imported.differences,
    }


def _summary(results, imported):
    unused = results["unused"]
    few = ", ".join(unused[:SHOWN]) + (", ..." if len(unused) > SHOWN else "")
    network = ", ".join(f"{name}={value}" for name, value in imported.settings.items())
    lines = [
        f"source: {results['source']}",
        f"network: {network}, h has {imported.encoder.feature_dim} features",
        f"variables: {results['matched']} matched, 0 missing, {len(unused)} unused"
        + (f" ({few})" if unused else ""),
    ]
    if imported.skipped:
        few = names.listing(imported.skipped, SHOWN)
        lines.append(f"Python objects: {len(imported.skipped)} left out and not run ({few})")
    if imported.classifier is not None:
        reads = f"layer {imported.selector} of the projection head" if imported.selector else "h"
        sure = "measured" if imported.differences else "by its width or --ft_proj_selector"
        units = imported.classifier.dense.units
        lines.append(f"classifier: {units} classes, reads {reads} ({sure})")
    for name, value in imported.differences.items():
        lines.append(f"difference of {name}: {value:.1e} relative to its largest value")
    if imported.differences:
        lines.append(f"largest difference: {max(imported.differences.values()):.1e}")
    else:
        lines.append("outputs: not compared, only a SavedModel holds something to compare with")
    return "\n".join(names.shown(line) for line in lines)  # names of variables are anybody's
