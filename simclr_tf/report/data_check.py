"""The report on a set of images: figures, advice in plain words, a contact sheet."""

import collections

import numpy as np

from simclr_tf import names
from simclr_tf.data import preprocess, stacks
from simclr_tf.report import image_check
from simclr_tf.stack import tf

CELLS = 10  # images in a row of the sheet
_CELL_SIDE = 96
_CLASS_ROWS = 8
_LISTED = 50  # names of each kind in the report
_SIDES = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_SLOW = frozenset(["WebP", "TIFF", "AVIF", "PNM", "JPEG 2000", "HEIC", "GIF"])


def figures_of(examined, class_counts, channels, num_images):
    """What the images hold, as plain values for JSON.

    Args:
        examined: image_check.Examined.
        class_counts: [(name, images)], [] without labels.
        channels: of the images.
        num_images: in all.
    Returns:
        dict.
    """
    equal = image_check.groups_of_equal(examined)
    alike = image_check.near_duplicates(examined, equal)
    uniform = np.flatnonzero(examined.is_uniform)
    short = np.minimum(examined.height, examined.width)
    name = lambda row: names.shown(examined.name(row))  # noqa: E731
    counts = [count for _, count in class_counts]
    pixels = examined.height.astype(np.int64) * examined.width
    return {
        "images": num_images,
        "checked": len(examined) + len(examined.broken),
        "usable": len(examined),
        "channels": channels,
        "formats": dict(collections.Counter(examined.kind).most_common()),
        "short_side": _spread(short),
        "short_side_histogram": image_check.histogram(short, _SIDES),
        "megapixels": {
            "median": _round(np.median(pixels) / 1e6),
            "largest": _round(pixels.max() / 1e6),
        }
        if len(pixels)
        else {},  # fmt: skip
        "bytes_per_image": int(np.median(examined.size)) if len(examined) else 0,
        "broken": len(examined.broken),
        "broken_images": dict(list(examined.broken.items())[:_LISTED]),
        "exact_duplicates": sum(len(group) - 1 for group in equal),
        "exact_duplicate_groups": [
            [name(row) for row in group[:CELLS]] for group in equal[:_LISTED]
        ],
        "near_duplicate_pairs": len(alike),
        "near_duplicates": [[name(row) for row in pair] for pair in alike[:_LISTED]],
        "duplicates_with_other_labels": _contradictions(examined, equal, alike),
        "nearly_uniform": len(uniform),
        "nearly_uniform_images": [name(row) for row in uniform[:_LISTED]],
        "classes": len(class_counts),
        "class_sizes": [[names.shown(one), count] for one, count in class_counts],
        "class_balance": _round(min(counts) / max(counts)) if counts and max(counts) else None,
    }


def _spread(values):
    if not len(values):
        return {}
    low, middle, high = (int(one) for one in np.percentile(values, (0, 50, 100)))
    return {"smallest": low, "median": middle, "largest": high}


def _round(value):
    return float(f"{value:.4g}")


def _contradictions(examined, equal, alike):
    """How many pairs of equal or alike images have different labels."""
    pairs = [(group[0], row) for group in equal for row in group[1:]] + alike
    label = examined.label
    return sum(1 for a, b in pairs if label[a] >= 0 and label[b] >= 0 and label[a] != label[b])


def advice_of(figures, image_size, look=None):
    """What to do, one sentence each, the most important first.

    Args:
        figures: of `figures_of`, with "speed" if that was measured.
        image_size: pixels that a training will see.
        look: data.value_range.Look, or None.
    Returns:
        list of str.
    """
    checked = max(figures["checked"], 1)
    usable = max(figures["usable"], 1)
    found = []
    if figures["broken"]:
        found.append(
            f"{figures['broken']:,} of {names.counted(checked, 'image')} cannot be used. A training puts "
            "others in their place; mend or remove what is broken."
        )
    if look is not None and look.advice():
        advice = look.advice()
        found.append(advice[0].upper() + advice[1:] + ".")
    copies = figures["exact_duplicates"]
    if copies > 0.005 * usable:
        found.append(
            f"{names.counted(copies, 'image')} too many, exact copies of others ({copies / usable:.0%}). Remove "
            "them: a copy in the same batch is taken for a different image, and a copy on the held-out side "
            "makes results look better than they are."
        )
    if figures["near_duplicate_pairs"] > 0.01 * usable:
        found.append(
            f"{names.counted(figures['near_duplicate_pairs'], 'pair')} of images look alike. If they are frames of one video "
            "or series, keep every tenth, and keep a series on one side of the split."
        )
    if figures["duplicates_with_other_labels"]:
        found.append(
            f"{names.counted(figures['duplicates_with_other_labels'], 'pair')} of equal or alike images "
            "with different labels: look at them, one of the labels may be wrong."
        )
    if figures["nearly_uniform"] > 0.005 * usable:
        found.append(
            f"{names.counted(figures['nearly_uniform'], 'image')} with hardly anything to see "
            f"({figures['nearly_uniform'] / usable:.0%} are nearly uniform). Remove them: two views of "
            "nothing teach nothing."
        )
    balance = figures["class_balance"]
    if balance is not None and balance < 0.1:
        sizes = sorted(figures["class_sizes"], key=lambda one: one[1])
        found.append(
            f"The classes are uneven: {sizes[0][0]} has {sizes[0][1]:,} images and {sizes[-1][0]} "
            f"{sizes[-1][1]:,}. Pretraining does not mind; look at each class beside the accuracy."
        )
    found += _advice_on_size(figures, image_size)
    found += _advice_on_speed(figures)
    if figures["images"] < 2000:
        found.append(
            f"{names.counted(figures['images'], 'image')}: few to learn from scratch. Start from weights that "
            "others trained (--mode=import_weights), or add images without labels."
        )
    return found or ["Nothing stands out. The images can be used as they are."]


def _advice_on_size(figures, image_size):
    middle = figures["short_side"].get("median", image_size)
    found = []
    if middle < image_size:
        found.append(
            f"Half of the images are smaller than --image_size={image_size}: their shorter side has "
            f"{middle} pixels in the median. A smaller --image_size trains faster and loses nothing."
        )
    if middle > 4 * image_size:
        found.append(
            f"The images are much larger than the {image_size} pixels that are used: the shorter "
            f"side has {middle:,} in the median. Store them with about {2 * image_size} pixels, and "
            "reading and decoding take a fraction of the time."
        )
    if figures["channels"] != 3:
        found.append(
            f"The images have {figures['channels']} channels, so the operators of colour are off."
        )
    return found


def _advice_on_speed(figures):
    speed = figures.get("speed")
    if not speed:
        return []
    found = []
    if speed["epochs"][0]["limited_by"] == "input":
        found.append(
            f"Preparing the images is slower than training a {speed['epochs'][0]['encoder']} on "
            "them. Store them smaller, add --resize_on=device, or let other machines prepare them "
            "(--mode=data_service)."
        )
        slow = sum(count for kind, count in figures["formats"].items() if kind in _SLOW)
        if slow > 0.2 * max(figures["usable"], 1):
            found.append(
                f"{names.counted(slow, 'image')} of a format that takes longer to decode than JPEG. "
                "Converting them to JPEG or storing them smaller helps."
            )
    return found


def markdown(title, figures, advice, sheet):
    """The report as text for people.

    Args:
        title: what was checked.
        figures, advice: of the functions above.
        sheet: name of the picture.
    """
    cell = lambda text: names.shown(str(text)).replace("|", "\\|")  # noqa: E731
    lines = [f"# {cell(title)}", "", "## Advice", ""]
    lines += [f"- {cell(one)}" for one in advice]
    lines += [
        "",
        f"![Contact sheet]({sheet})",
        "",
        "## Images",
        "",
        "| what | figure |",
        "|---|---|",
    ]
    short = figures["short_side"]
    rows = [
        ("images", f"{figures['images']:,}"),
        ("checked", f"{figures['checked']:,}"),
        ("formats", ", ".join(f"{kind} {n:,}" for kind, n in figures["formats"].items())),
        ("channels", figures["channels"]),
        (
            "shorter side",
            f"{short['smallest']:,} to {short['largest']:,} pixels, median {short['median']:,}"
            if short
            else "unknown",
        ),  # fmt: skip
        ("broken", f"{figures['broken']:,}"),
        ("exact copies", f"{figures['exact_duplicates']:,}"),
        ("pairs that look alike", f"{figures['near_duplicate_pairs']:,}"),
        ("nearly uniform", f"{figures['nearly_uniform']:,}"),
    ]
    rows += [("left out", phrase) for phrase in figures.get("left_out", ())]
    if figures["classes"]:
        rows.append(("classes", f"{figures['classes']:,}, smallest to largest {figures['class_balance']:.3g}"))  # fmt: skip
    lines += [f"| {cell(name)} | {cell(value)} |" for name, value in rows]
    lines += ["", "| shorter side in pixels | images |", "|---|---|"]
    lines += [f"| {words} | {count:,} |" for words, count in figures["short_side_histogram"]]
    if figures["class_sizes"]:
        lines += ["", "| class | images |", "|---|---|"]
        lines += [
            f"| {cell(name)} | {count:,} |" for name, count in figures["class_sizes"][:_LISTED]
        ]
    if "speed" in figures:
        lines += _speed_lines(figures["speed"])
    for heading, found in (
        ("Broken images", [f"{name}: {why}" for name, why in figures["broken_images"].items()]),
        ("Exact copies", [" = ".join(group) for group in figures["exact_duplicate_groups"]]),
        ("Images that look alike", [" ~ ".join(pair) for pair in figures["near_duplicates"]]),
        ("Nearly uniform images", figures["nearly_uniform_images"]),
    ):
        if found:
            lines += ["", f"## {heading}", "", *(f"- `{cell(one)}`" for one in found)]
    return "\n".join(lines) + "\n"


def _speed_lines(speed):
    lines = ["", "## Speed of this machine", "", "| what | figure |", "|---|---|"]
    lines += [
        f"| decoding | {speed['decoded_per_second']:,} images a second |",
        f"| input of a training, both views | {speed['input_per_second']:,} images a second |",
        f"| memory of the input | {speed['input_memory_mb']:,} MB for batches of {speed['batch']} |",
    ]
    if speed["device_memory_mb"]:
        lines.append(f"| device memory of a ResNet-18 step | {speed['device_memory_mb']:,} MB for {speed['measured_batch']} images |")  # fmt: skip
    lines += [
        "",
        "A step of ResNet-18 was measured; the others follow from their multiplications.",
        "",
        "| encoder | images a second | minutes an epoch | limited by |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {one['encoder']}{' (measured)' if one['measured'] else ''} | {one['images_per_second']:,} "
        f"| {one['minutes_per_epoch']:,} | {one['limited_by']} |"
        for one in speed["epochs"]
    ]
    return lines


def sheet_rows(examined, class_names):
    """[(name, uint8 [n, 96, 96, 3])] for `sheet.write_sheet`: a sample, classes, what stands out."""
    load = _loader(examined.source)
    count = len(examined)
    short = np.argsort(np.minimum(examined.height, examined.width), kind="stable")
    equal = image_check.groups_of_equal(examined)
    alike = image_check.near_duplicates(examined, equal)
    rows = [("some of all", np.unique(np.linspace(0, count - 1, CELLS).astype(int)))]
    for label, name in list(enumerate(class_names))[:_CLASS_ROWS]:
        rows.append((names.shown(name)[:16], np.flatnonzero(examined.label == label)[:CELLS]))
    rows.append(("smallest", short[:CELLS]))
    rows.append(("largest", short[::-1][:CELLS]))
    rows.append(("exact copies", [row for group in equal for row in group[:2]][:CELLS]))
    rows.append(("look alike", [row for pair in alike for row in pair][:CELLS]))
    rows.append(("nearly uniform", np.flatnonzero(examined.is_uniform)[:CELLS]))
    return [(name, _padded([load(examined.ids[at]) for at in found])) for name, found in rows if len(found)]  # fmt: skip


def _padded(images):
    """uint8 [CELLS, s, s, 3], white where there are fewer images."""
    white = np.full([CELLS - len(images), *images[0].shape], 255, np.uint8)
    return np.concatenate([np.stack(images), white])


def _loader(source):
    """id -> uint8 [96, 96, 3] of an image as an encoder sees it."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
    def load(example_id):
        image = source.resolve(source.fetch(example_id)[0])
        return preprocess.eval_encoded(image, _CELL_SIDE, source.channels)

    def picture(example_id):
        pixels = load(tf.constant(int(example_id), tf.int64)).numpy()
        return np.uint8(np.rint(255.0 * stacks.as_rgb(pixels)))

    return picture
