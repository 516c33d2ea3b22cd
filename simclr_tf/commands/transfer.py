"""`--mode=transfer`: the paper's transfer study on its data sets or on any others (App. B.8)."""

import time

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.distribution.strategy import check_divisible
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation import transfer_data
from simclr_tf.evaluation.results import FIGURES, csv_text
from simclr_tf.evaluation.transfer_sets import find_sets
from simclr_tf.evaluation.transfer_table import markdown_of, table_of
from simclr_tf.files import write_atomically
from simclr_tf.runs import restore
from simclr_tf.training import transfer_run
from simclr_tf.training.transfer_grid import grid_of


@evaluation_run.releases
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
    cells = [len(grid_of(config, random)) for random in (False, True)]
    strategy = evaluation_run.make_strategy(config, given, config.trained.checkpoint)
    check_divisible(config.transfer.train_batch_size, strategy.num_replicas_in_sync)
    with strategy.scope():
        trained = evaluation_run.load(config, given)
        compared = None
        if config.transfer.compare:
            compared = restore.load_trained(
                config.transfer.compare, trust_code=config.run.trust_code
            )
    config = evaluation_run.resolve(config, given, trained, "transfer")
    _check(config, compared)
    sets = [transfer_data.with_metric(config, one) for one in sets]
    infos = [transfer_data.describe(config, one) for one in sets]
    print(_plan(config, trained, sets, infos, cells, strategy), flush=True)
    if config.run.dry_run:
        return None
    folder, _ = evaluation_run.claim("transfer", config, transfer_data.combined_info(infos))
    began = time.monotonic()
    columns = {}
    for one, info in zip(sets, infos):
        found = transfer_run.measure(config, one, trained, compared, strategy, folder)
        columns[one.name] = {"num_train": info.num_train, **found}
    seconds = round(time.monotonic() - began, 2)
    results = {"mode": "transfer", "checkpoint": config.trained.checkpoint, "step": trained.step}
    results.update(datasets=columns, wall_seconds=seconds)
    return _write(folder, config, sets, results)


def _write(folder, config, sets, results):
    """Writes results.json, .md and .csv; returns the results."""
    header, lines = table_of(results, sets)
    text = markdown_of(results, config, header, lines)
    evaluation_run.write_results(folder, results, text)
    write_atomically(folder.join("results.csv"), csv_text(header, lines))
    return results


def _check(config, compared):
    size = config.data.image_size
    channels = config.model.image_channels
    if compared is not None and compared.settings["image_size"] != size:
        raise SettingsError(
            f"compare={config.transfer.compare} takes {compared.settings['image_size']} pixels, "
            f"the checkpoint {size}; compare encoders of one image size."
        )
    others = compared.settings.get("image_channels", 3) if compared is not None else channels
    if others != channels:
        raise SettingsError(
            f"compare={config.transfer.compare} takes {others} channels, the checkpoint "
            f"{channels}; compare encoders of the same images."
        )
    if config.transfer.random_init and config.transfer.transfer_protocol == "linear":
        raise SettingsError(
            "random_init trains from random weights, which --transfer_protocol=linear does not; "
            "add --transfer_protocol=finetune or both."
        )


def _plan(config, trained, sets, infos, cells, strategy):
    settings = config.transfer
    rows = [("encoder", f"{config.trained.checkpoint}, step {trained.step}")]
    for one, info in zip(sets, infos):
        words = "" if info.prepared else ", not downloaded"
        rows.append((one.name, f"{info.num_train:,} training, {info.num_eval:,} test images, {FIGURES[one.metric]}{words}"))  # fmt: skip
    rows += [("protocol", settings.transfer_protocol)]
    if settings.transfer_protocol != "linear":
        batch = settings.train_batch_size
        each = f"{cells[0]} runs per data set, {settings.train_steps:,} steps of {batch}"
        rows += [("grid", each + ", as many again for --compare" * bool(settings.compare))]
        if settings.random_init:
            rows += [("random weights", f"{cells[1]} runs per data set, {settings.random_train_steps:,} steps of {batch}")]  # fmt: skip
    rows += [evaluation_run.strategy_row(strategy), ("output", config.run.model_dir)]
    return plan.format_plan("plan: transfer", rows)
