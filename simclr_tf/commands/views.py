"""`--mode=views`: a sheet of originals and their views, one row per operator."""

import dataclasses
import logging

from simclr_tf.commands import plan
from simclr_tf.data import sources
from simclr_tf.report.files import make_folder_of
from simclr_tf.report.sheet import sheet_rows, write_sheet
from simclr_tf.stack import tf
from simclr_tf.training import auto
from simclr_tf.views import channels, multi_crop

_LOG = logging.getLogger(__name__)


def run(config, given=frozenset()):
    """Draws the sheet, prints the settings of the views and where the sheet is.

    Args:
        config: config.ViewsSheet.
        given: names of the settings that the user gave.
    Returns:
        the path of the picture, or None for a dry run.
    Raises:
        UserError: the images cannot be read, or the file cannot be written.
    """
    multi_crop.check(config)
    info = sources.describe(config.data)
    rows = [("data set", f"{info.name}, {info.num_train:,} training images")]
    source = None
    if config.auto.auto:  # the views that a pretraining would choose
        source = sources.open_source(config.data, "train", config.run.seed)
        config, seen, found = auto.look(config, given, source)
        rows += [("look", seen.words()), *(("auto", rule.words()) for rule in found)]
    config = channels.restrict(config, info.channels)
    size = config.data.image_size
    rows += [
        *plan.image_rows(info),
        ("input", f"{size} x {size} pixels"),
        ("seed", str(config.run.seed)),
    ]
    settings = {**dataclasses.asdict(config.views), **dataclasses.asdict(config.multi_crop)}
    rows += [(name, f"{v:g}" if isinstance(v, float) else str(v)) for name, v in settings.items()]
    print(plan.format_plan("views", rows + [("output", config.sheet.sheet)]), flush=True)
    if config.run.dry_run:
        return None
    make_folder_of(config.sheet.sheet)  # before the work
    tf.get_logger().setLevel("ERROR")  # it warns of many programs; here each row is one
    source = source or sources.open_source(config.data, "train", config.run.seed)
    count = min(config.sheet.sheet_images, source.num_examples)
    path = write_sheet(sheet_rows(source, config, count), config.sheet.sheet)
    if len(source.quarantine):
        _LOG.warning("%s", source.quarantine.summary())
    print(f"picture: {path}")
    print(plan.next_line(f"pretrain {config.data.flag} --model_dir=runs/first"), flush=True)
    return path
