"""`--mode=transfer`: the paper's transfer study on its data sets or on any others (App. B.8)."""

import time

from simclr_tf.commands import evaluation_run, plan
from simclr_tf.data.info import SourceInfo, fingerprint_of
from simclr_tf.data.subset import all_labels
from simclr_tf.distribution.strategy import check_divisible
from simclr_tf.distribution.strategy import describe as describe_strategy
from simclr_tf.errors import SettingsError
from simclr_tf.evaluation import transfer_data, transfer_linear
from simclr_tf.evaluation.frozen import proved_frozen
from simclr_tf.evaluation.results import FIGURES, csv_text
from simclr_tf.evaluation.transfer_sets import find_sets
from simclr_tf.evaluation.transfer_table import markdown_of, table_of
from simclr_tf.files import write_atomically
from simclr_tf.runs import restore
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.lock import releases
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training.recording import bad_images_reported
from simclr_tf.training.transfer_grid import Grid, Start, grid_of


@releases
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
    strategy = evaluation_run.make_strategy(config, given, config.source.checkpoint)
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
    folder, _ = evaluation_run.claim("transfer", config, _combined_info(infos))
    began = time.monotonic()
    columns = {}
    for one, info in zip(sets, infos):
        found = _measure(config, one, trained, compared, strategy, folder)
        columns[one.name] = {"num_train": info.num_train, **found}
    seconds = round(time.monotonic() - began, 2)
    results = {"mode": "transfer", "checkpoint": config.source.checkpoint, "step": trained.step}
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


def _combined_info(infos):
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
    place = RunFolder(folder.join(one.name.replace("/", "_")))
    tf.io.gfile.makedirs(place.path)
    path = place.join("linear.json")
    trains = config.transfer.transfer_protocol != "linear"
    rows = {}
    p_values = {}
    if trains or not tf.io.gfile.exists(path):
        data = transfer_data.open_set(config, one)
        data.train.quarantine.attach(place.join("quarantine.txt"))
        with bad_images_reported(data.train.quarantine):
            if not tf.io.gfile.exists(path):
                _linear(config, data, trained, compared, strategy, place)
            if trains:
                rows, p_values = _trained_rows(config, data, trained, compared, strategy, place)
    linear = read_json(path)
    return {**linear["rows"], **rows, "p_values": {**linear["p_values"], **p_values}}


def _linear(config, data, trained, compared, strategy, place):
    """Writes the linear rows: linear.json and confusion matrices.

    Beside fine-tuning alone only the untrained encoder, which costs little.
    """
    print(f"{data.about.name}: linear protocol", flush=True)
    encoders = {}
    if config.transfer.transfer_protocol != "finetune":
        encoders["simclr"] = trained.encoder
        encoders.update({} if compared is None else {"compared": compared.encoder})
    encoders = transfer_linear.feature_functions(config, encoders, strategy)
    with proved_frozen(trained.encoder, strategy) as sha256:
        figures, confusions = transfer_linear.measure(config, data, encoders, strategy)
    for name, text in confusions.items():
        write_atomically(place.join(f"confusion_{name}.csv"), text)
    write_json(place.join("linear.json"), {**figures, "encoder_sha256": sha256})


def _trained_rows(config, data, trained, compared, strategy, place):
    """({row: figures}, {row: p-value against "finetune"}) of the trainings of all weights."""
    starts = {"finetune": (Start(config.source.checkpoint, trained.settings), place)}
    if config.transfer.random_init:
        starts["random"] = Start("", trained.settings, True), RunFolder(place.join("random"))
    if compared is not None:
        start = Start(config.transfer.compare, compared.settings)
        starts["compared_finetune"] = start, RunFolder(place.join("compared"))
    rows = {}
    hits = {}
    for name, (start, where) in starts.items():
        tf.io.gfile.makedirs(where.path)
        grid = Grid(config, start, strategy, data, where)
        rows[name] = grid.run()
        hits[name] = grid.hits()
    labels = all_labels(data.test)
    tuned = hits.pop("finetune")
    p_values = {
        name: transfer_linear.p_value(config, data, labels, tuned, other)
        for name, other in hits.items()
    }
    return rows, p_values


def _plan(config, trained, sets, infos, cells, strategy):
    settings = config.transfer
    rows = [("encoder", f"{config.source.checkpoint}, step {trained.step}")]
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
    rows += [("strategy", describe_strategy(strategy)), ("output", config.run.model_dir)]
    return plan.format_plan("plan: transfer", rows)
