"""A sheet of originals and their views, one row per operator."""

import dataclasses
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from simclr_tf.config import listed
from simclr_tf.data import listing, stacks
from simclr_tf.report.files import write_file
from simclr_tf.report.sample import Sample
from simclr_tf.views import blur, channels, multi_crop
from simclr_tf.views.batches import eval_batches, train_batches
from simclr_tf.views.device import make_views
from simclr_tf.views.operators import drawn_operators

CELL = 96  # images are enlarged by whole factors to at least about this many pixels
_GAP = 4
_LABEL_WIDTH = 150
_FONT_SIZE = 15


def variants(views, image_size, rgb=True):
    """[(name of a row, config.Views)]: crop and flip, each operator alone on it, whole views.

    Without rows of colour unless `rgb`.
    """
    views = dataclasses.replace(views, augment_on="device", resize_on="host", study_prob=1.0)
    strength = views.color_jitter_strength or 1.0
    color = dict(operators="color", color_jitter_strength=strength)
    alone = {"crop, flip": dict(operators="")}
    if rgb:
        alone["color jitter"] = dict(color, jitter_prob=1.0, grayscale_prob=0.0)
        alone["grayscale"] = dict(color, jitter_prob=0.0, grayscale_prob=1.0)
    if blur.radius_of(image_size):
        alone["blur"] = dict(operators="blur", use_blur=True, blur_prob=1.0)
    for name in (one.name for one in drawn_operators()):
        alone["second crop" if name == "crop" else name.replace("_", " ")] = dict(operators=name)
    return [(name, dataclasses.replace(views, **changes)) for name, changes in alone.items()]


def sheet_rows(source, config, count):
    """[(name, uint8 [count, s, s, 3])] for the first `count` images of the shuffled stream.

    Local views are of their own size.
    """
    size = config.data.image_size
    seed = config.run.seed
    views = dataclasses.replace(config.views, augment_on="device", resize_on="host")
    plain = dataclasses.replace(views, auto_augment="none")
    config = dataclasses.replace(config, views=views)
    crops = next(iter(train_batches(source, plain, size, count, seed)))
    whole = next(iter(multi_crop.batches(source, config, 2, count)))
    original = next(iter(eval_batches(Sample(source, seed, count), size, count)))
    rows = [("original", original["images"].numpy())]
    for name, changed in variants(plain, size, source.channels == channels.RGB):
        made = make_views(changed, size, seed, once=True)(crops)
        rows.append((name, made.numpy()[:count]))
    if views != plain:
        alone = dataclasses.replace(views, operators="")
        rows.append(
            ("AutoAugment", make_views(alone, size, seed, once=True)(whole).numpy()[:count])
        )
    made = multi_crop.make_all_views(config, 2, once=True)(whole)
    pair, local = made if isinstance(made, tuple) else (made, None)
    used = " + ".join(listed(views.operators)) or "no operator"
    rows += [(f"view {k + 1}\n({used})", one) for k, one in enumerate(np.split(pair.numpy(), 2))]
    if local is not None:
        each = np.split(local.numpy(), config.multi_crop.local_views)
        rows += [(f"local view {k + 1}", one) for k, one in enumerate(each)]
    return [(name, np.uint8(np.rint(stacks.as_rgb(images) * 255.0))) for name, images in rows]


def write_sheet(rows, path):
    """Draws rows of images with their names on the left and writes the picture.

    Args:
        rows: [(name, uint8 [n, s, s, 3])]; s of the first row is the largest.
        path: of the picture: JPEG if it ends in .jpg or .jpeg, else PNG.
    Returns:
        the path.
    Raises:
        DataError: the file cannot be written.
    """
    count, size = rows[0][1].shape[:2]
    factor = max(1, round(CELL / size))
    step = size * factor + _GAP
    sheet = Image.new("RGB", (_LABEL_WIDTH + count * step, len(rows) * step + _GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for row, (name, images) in enumerate(rows):
        top = _GAP + row * step
        lines = name.replace(" + ", " +\n").splitlines()[: max(1, step // (_FONT_SIZE + 4))]
        draw.multiline_text((8, top + 2), "\n".join(lines), fill="black", font=font)
        for column, image in enumerate(images):
            cell = Image.fromarray(image)
            cell = cell.resize([len(image) * factor] * 2, Image.Resampling.NEAREST)
            sheet.paste(cell, (_LABEL_WIDTH + column * step, top))
    content = io.BytesIO()
    mark = PngInfo()  # by which the sheet is known again if it lies among the user's images
    mark.add_text("Software", listing.MARK)
    if path.lower().endswith((".jpg", ".jpeg")):
        sheet.save(content, "JPEG", quality=90, comment=listing.MARK)
    else:
        sheet.save(content, "PNG", pnginfo=mark)
    write_file(content.getvalue(), path)
    return path
