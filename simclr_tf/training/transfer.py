"""`--mode=transfer`: the paper's transfer study on its data sets or on any others (App. B.8)."""

import csv
import io
import time

from simclr_tf.data.info import SourceInfo, fingerprint_of
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation.frozen import proved_frozen
from simclr_tf.evaluation.results import markdown_table
from simclr_tf.evaluation.transfer_sets import PAPER_ROWS, find_sets
from simclr_tf.stack import tf
from simclr_tf.training import evaluation_run, plan, restore, transfer_data, transfer_linear
from simclr_tf.training.run_folder import RunFolder, read_json, write_atomically, write_json
from simclr_tf.training.strategy import check_divisible, make_strategy
from simclr_tf.training.transfer_grid import Grid, grid_of

ROWS = {
    "simclr": "SimCLR, linear",
    "untrained": "untrained encoder, linear",
    "compared": "compared encoder, linear",
    "finetune": "SimCLR, fine-tuned",
}
METRICS = {"top_1": "top-1", "mean_per_class": "mean per class", "map_11": "11-point mAP"}


def run(config, given=frozenset()):
    """Measures an encoder on several data sets; data sets that are done are not repeated.

    Args:
        config: config.Transfer.
        given: names of the settings that the user gave.
    Returns:
        the content of results.json, or None for a dry run.
    Raises:
        UserError: a setting, a data set, the checkpoint or the folder cannot be used.
        FrozenEncoderError: an encoder changed in the linear protocol.
    """
    sets = find_sets(config.transfer.datasets)
    cells = grid_of(config)
    strategy = make_strategy(config.run)
    check_divisible(config.transfer.train_batch_size, strategy)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
        compared = restore.load_trained(config.transfer.compare) if config.transfer.compare else None  # fmt: skip
    config = evaluation_run.resolve(config, given, trained, "transfer")
    _check(config, sets, compared)
    infos = [transfer_data.describe(config, one) for one in sets]
    print(_plan(config, trained, sets, infos, len(cells), strategy), flush=True)
    if config.run.dry_run:
        return None
    folder, _ = evaluation_run.claim("transfer", config, _together(infos))
    began = time.monotonic()
    columns = {
        one.name: _measure(config, one, trained, compared, strategy, folder) for one in sets
    }
    seconds = round(time.monotonic() - began, 2)
    results = {"mode": "transfer", "checkpoint": config.source.checkpoint, "step": trained.step}
    results.update(datasets=columns, wall_seconds=seconds)
    return _write(folder, config, sets, results)


def _write(folder, config, sets, results):
    """Writes results.json, .md and .csv; returns the results."""
    header, lines = _table(results, sets)
    text = _markdown(results, config, header, lines)
    evaluation_run.write_results(folder, results, text)
    write_atomically(folder.join("results.csv"), _csv(header, lines))
    print(text)
    return results


def _check(config, sets, compared):
    size = config.data.image_size
    if compared is not None and compared.settings["image_size"] != size:
        raise SettingsError(
            f"compare={config.transfer.compare} takes {compared.settings['image_size']} pixels, "
            f"the checkpoint {size}; compare encoders of one image size."
        )
    several = [one.name for one in sets if one.metric == "map_11"]
    if several and config.transfer.transfer_protocol != "linear":
        raise SettingsError(
            f"{several[0]} has several labels per image, which fine-tuning does not train; use "
            "--transfer_protocol=linear, or leave it out."
        )


def _together(infos):
    """One SourceInfo that stands for all data sets in the run folder."""
    return SourceInfo(
        name=",".join(info.name for info in infos),
        num_train=sum(info.num_train for info in infos),
        num_eval=sum(info.num_eval for info in infos),
        num_classes=0,
        train_split="",
        eval_split="",
        prepared=True,
        fingerprint=fingerprint_of(*(info.fingerprint for info in infos)),
    )


def _measure(config, one, trained, compared, strategy, folder):
    """{row: figures, "p_values": ...} of one data set."""
    protocol = config.transfer.transfer_protocol
    place = RunFolder(folder.join(one.name.replace("/", "_")))
    tf.io.gfile.makedirs(place.path)
    path, data, found = place.join("linear.json"), None, {}
    if protocol != "finetune":
        if not tf.io.gfile.exists(path):
            data = transfer_data.open_set(config, one)
            print(f"{one.name}: linear protocol", flush=True)
            encoders = {"simclr": trained.encoder}
            encoders.update({} if compared is None else {"compared": compared.encoder})
            encoders = transfer_linear.feature_functions(config, encoders, strategy)
            with proved_frozen(trained.encoder, strategy) as sha256:
                figures = transfer_linear.measure(config, data, encoders, strategy)
            write_json(path, {**figures, "encoder_sha256": sha256})
        linear = read_json(path)
        found = {**linear["rows"], "p_values": linear["p_values"]}
    if protocol != "linear":
        data = data or transfer_data.open_set(config, one)
        found["finetune"] = Grid(config, trained, strategy, data, place).run()
    return found


def _plan(config, trained, sets, infos, cells, strategy):
    settings = config.transfer
    rows = [("encoder", f"{config.source.checkpoint}, step {trained.step}")]
    for one, info in zip(sets, infos):
        words = "" if info.prepared else ", not downloaded"
        rows.append((one.name, f"{info.num_train:,} training, {info.num_eval:,} test images, {METRICS[one.metric]}{words}"))  # fmt: skip
    rows += [("protocol", settings.transfer_protocol)]
    if settings.transfer_protocol != "linear":
        rows += [("grid", f"{cells} runs per data set, {settings.train_steps:,} steps of {settings.train_batch_size}")]  # fmt: skip
    rows += [("strategy", plan.strategy_line(strategy)), ("output", config.run.model_dir)]
    return plan.format_plan("plan: transfer", rows)


def _table(results, sets):
    """Header and rows: a column per data set, the paper's rows beside ours, then p-values."""
    columns = results["datasets"]
    header = ["row"] + [f"{one.name} ({METRICS[one.metric]})" for one in sets]
    lines = []
    for key, title in ROWS.items():
        if any(key in figures for figures in columns.values()):
            lines.append([title] + [_cell(columns[one.name].get(key)) for one in sets])
    for title, key in PAPER_ROWS.items():
        if any(key in one.paper for one in sets):
            figures = [one.paper.get(key) for one in sets]
            lines.append([title] + ["" if f is None else f"{f:.1f}" for f in figures])
    for key in ("untrained", "compared"):
        values = [columns[one.name].get("p_values", {}).get(key) for one in sets]
        if any(value is not None for value in values):
            title = f"p-value, SimCLR against {ROWS[key].split(',')[0]}"
            lines.append([title] + ["" if v is None else f"{v:.5f}" for v in values])
    return header, lines


def _cell(figures):
    """Per cent and its 95 % interval, as the paper's tables."""
    if figures is None:
        return ""
    low, high = figures["interval"]
    return f"{100 * figures['value']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _csv(header, lines):
    content = io.StringIO()
    writer = csv.writer(content, lineterminator="\n")
    writer.writerows([header, *lines])
    return content.getvalue()


def _markdown(results, config, header, lines):
    text = f"# Transfer of {results['checkpoint']} (step {results['step']})\n\n"
    text += markdown_table(header, lines)
    return text + (
        "\nPer cent with 95 % intervals (Wilson's for top-1, bootstrap otherwise). Linear: L-BFGS "
        "logistic regression on standardised features of whole images, the penalty chosen from 45 "
        "on held-out training images, then all training images. The p-values are of permutation "
        f"tests with {config.transfer.permutations:,} samples; above 0.05 counts as tied.\n"
    )
