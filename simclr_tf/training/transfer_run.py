"""One data set of the transfer study: its linear rows and its trainings, resumable."""

from simclr_tf.data.subset import all_labels
from simclr_tf.evaluation import transfer_data, transfer_linear
from simclr_tf.evaluation.frozen import proved_frozen
from simclr_tf.files import write_atomically
from simclr_tf.runs.files import read_json, write_json
from simclr_tf.runs.run_folder import RunFolder
from simclr_tf.stack import tf
from simclr_tf.training.recording import bad_images_reported
from simclr_tf.training.transfer_grid import Grid, Start


def measure(config, one, trained, compared, strategy, folder):
    """Measures an encoder on one data set; what is done already is not repeated.

    Args:
        config: resolved config.Transfer.
        one: TransferSet.
        trained: restore.Trained of the encoder.
        compared: restore.Trained of --compare, or None.
        strategy: tf.distribute.Strategy that holds them.
        folder: RunFolder of the study.
    Returns:
        {row: figures, "p_values": {row: p-value}}.
    """
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
    starts = {"finetune": (Start(config.trained.checkpoint, trained.settings), place)}
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
