"""`--mode=data_check`: looks at images before anything is trained on them."""

import os
import sys

import numpy as np
from tqdm import tqdm

from simclr_tf.commands import plan
from simclr_tf.data import sources, subset
from simclr_tf.errors import DataError
from simclr_tf.report import check_speed, data_check, image_check
from simclr_tf.report.files import make_folder_of, write_file
from simclr_tf.report.sheet import write_sheet
from simclr_tf.runs.files import write_json
from simclr_tf.stack import tf
from simclr_tf.training import auto

JSON, TEXT, SHEET = "data_check.json", "data_check.md", "contact_sheet.png"
_BATCH = 256  # images of a batch whose memory is estimated
_AHEAD = 3  # batches that are in memory at once


def run(config, given=frozenset()):
    """Checks images, writes the report and prints its advice.

    Args:
        config: config.DataCheck.
        given: names of the settings that the user gave.
    Returns:
        the content of data_check.json, or None for a dry run.
    Raises:
        DataError: the images cannot be read, none can be used, or a file cannot be written.
    """
    info = sources.describe(config.data)
    chosen = []
    if config.auto.auto:  # the size that a pretraining would choose
        try:
            source = sources.open_source(config.data, "train", config.run.seed)
            config, _, found = auto.look(config, given, source)
            chosen = [("auto", rule.words()) for rule in found if "image_size" in rule.values]
        except DataError:
            chosen = [("auto", "nothing, because no image can be used")]
    wanted = config.data_check.check_images
    folder = config.data_check.check_dir
    total = info.num_train + info.num_eval
    count = min(wanted, total) if wanted else total
    rows = [
        ("data set", f"{info.name}, {total:,} images"),
        ("labels", plan.classes_in_words(info) if info.num_classes else "none"),
        *plan.image_rows(info),
        *chosen,
        ("input", f"{config.data.image_size} x {config.data.image_size} pixels"),
        ("decoded", f"{count:,} images" + ("" if count == total else ", drawn by --seed")),
        (
            "measured",
            "decoding, input, a step of ResNet-18" if config.data_check.check_speed else "nothing",
        ),  # fmt: skip
        ("output", folder),
    ]
    print(plan.format_plan("plan: data_check", rows), flush=True)
    if config.run.dry_run:
        return None
    make_folder_of(os.path.join(folder, JSON))  # before the work
    figures, examined, class_names = _examine(config, info)
    look = _look(config.data)
    figures["image_size"] = config.data.image_size
    figures["left_out"] = list(info.left_out)
    if config.data_check.check_speed:
        figures["speed"] = _speed(config, examined, info.num_train)
    figures["advice"] = data_check.advice_of(figures, config.data.image_size, look)
    _write(folder, info.name, figures, examined, class_names)
    print("advice:")
    for sentence in figures["advice"]:
        print(f"  - {sentence}")
    done = f"{figures['checked']:,} images checked, {figures['broken']:,} broken"
    report = os.path.join(folder, TEXT)
    train = f"pretrain {config.data.flag} --model_dir=runs/first"
    print(plan.format_done(done, report, ("train", train)), flush=True)
    return figures


def _examine(config, info):
    """(figures, Examined, class names) of the images."""
    data = config.data
    if data.is_folder or data.shards or not info.num_eval:
        source = sources.open_whole(data, data.train_split)
    else:
        source = sources.open_source(data, "train", config.run.seed)
    labels = subset.all_labels(source)
    counts = np.bincount(labels[labels >= 0], minlength=source.num_classes)
    class_counts = list(zip(source.class_names, counts.tolist()))
    wanted = config.data_check.check_images
    total = min(wanted, source.num_examples) if wanted else source.num_examples
    with tqdm(total=total, desc="images", unit="image", file=sys.stderr, mininterval=1.0) as bar:
        progress = lambda done: bar.update(done - bar.n)  # noqa: E731
        examined = image_check.examine(source, wanted, config.run.seed, progress)
    if not len(examined):
        name, reason = next(iter(examined.broken.items()))
        raise DataError(
            f"none of {len(examined.broken):,} images can be used, such as {name} ({reason}); mend "
            "or replace them."
        )
    figures = data_check.figures_of(examined, class_counts, source.channels, source.num_examples)
    return figures, examined, source.class_names


def _look(data):
    """value_range.Look at some images of a folder, None for others or where none can be used."""
    try:
        return sources.look(data)
    except DataError:
        return None


def _speed(config, examined, num_train):
    """The measured rates, and what follows from them."""
    tf.get_logger().setLevel("ERROR")
    # broken images would be measured as well
    source = subset.subset(examined.source, examined.ids)
    print("measuring: decoding, the input of a training, a step of ResNet-18 ...", flush=True)
    decoded = check_speed.decode_rate(source)
    made = check_speed.input_rate(source, config.data, config.run.seed)
    of_step, batch, used = check_speed.step_rate(source, config.data, config.run.seed)
    side = config.data.image_size
    largest = int((examined.height.astype(np.int64) * examined.width).max())
    threads = os.cpu_count() or 1
    crops = _BATCH * 2 * side**2 * source.channels * _AHEAD
    return {
        "decoded_per_second": round(decoded, 1),
        "input_per_second": round(made, 1),
        "step_images_per_second": round(of_step, 2),
        "measured_batch": batch,
        "device_memory_mb": round(used / 1e6),
        "batch": _BATCH,
        "input_memory_mb": round((crops + 2 * threads * largest * source.channels) / 1e6),
        "epochs": check_speed.epochs(num_train, side, of_step, made, source.channels),
    }


def _write(folder, title, figures, examined, class_names):
    write_json(os.path.join(folder, JSON), figures)
    write_sheet(data_check.sheet_rows(examined, class_names), os.path.join(folder, SHEET))
    text = data_check.markdown(title, figures, figures["advice"], SHEET)
    write_file(text.encode(), os.path.join(folder, TEXT))
