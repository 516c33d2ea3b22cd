"""The picture of a run: random views, and nearest neighbours by cosine of h."""

import os

import numpy as np
from matplotlib.figure import Figure

from simclr_tf import config as settings_of
from simclr_tf import names
from simclr_tf.data import sources, stacks
from simclr_tf.errors import DataError
from simclr_tf.evaluation.features import extract_features
from simclr_tf.evaluation.knn import nearest_neighbours
from simclr_tf.report.files import write_figure
from simclr_tf.report.sample import Sample
from simclr_tf.runs import restore
from simclr_tf.views.batches import eval_batches, train_batches
from simclr_tf.views.device import make_views

ROWS = 8
NEIGHBOURS = 6
BANK = 2000  # training images that neighbours are looked for among
BATCH = 128


def draw_overview(trained, path=None):
    """Draws, for 8 images, the image and two views; for 8 queries, their 6 nearest neighbours.

    Queries are held-out images (one per class as far as possible) where there are any, else
    training images; neighbours come from up to 2,000 other training images. Labels only caption
    the images; a neighbour of another class gets a red frame.

    Args:
        trained: training.restore.Trained.
        path: where to write the PNG; default `report/overview.png` in the run folder.
    Returns:
        the path.
    Raises:
        DataError: the images cannot be read, there are too few, or the file cannot be written.
    """
    path = path or os.path.join(trained.run_dir, "report", "overview.png")
    data = restore.data_of(trained.settings)
    source = sources.open_source(data, "train", trained.settings["seed"])
    if source.num_examples < ROWS + NEIGHBOURS:
        raise DataError(
            f"{source.name} has {source.num_examples} training images; the picture needs at "
            f"least {ROWS + NEIGHBOURS}."
        )
    originals, pairs = views_of(trained, source, ROWS)
    queries, bank = _queries_and_bank(trained, data, source)
    _, nearest = nearest_neighbours(queries["h"], bank["h"], NEIGHBOURS)
    figure = _figure(originals, pairs, queries, bank, nearest, source.class_names)
    write_figure(figure, path)
    return path


def _section(kind, settings):
    names = set(kind.__dataclass_fields__) & set(settings)
    return kind(**{name: settings[name] for name in names})


def views_of(trained, source, count):
    """(originals [n, s, s, 3], views [2, n, s, s, 3]) of the first images of training.

    Args:
        trained: restore.Trained.
        source: training Source.
        count: n, int, at most the images of the source.
    Raises:
        DataError: the source gives its images in another order each time.
    """
    size = trained.settings["image_size"]
    seed = trained.settings["seed"]
    views = _section(settings_of.Views, trained.settings)
    batch = next(iter(train_batches(source, views, size, count, seed)))
    pairs = make_views(views, size, seed, once=True)(batch).numpy()
    original = next(iter(eval_batches(Sample(source, seed, count), size, count)))
    if not np.array_equal(original["id"], batch["id"]):
        raise DataError(f"{source.name} gives its images in another order each time it is read.")
    pairs = stacks.as_rgb(pairs.reshape((2, count) + pairs.shape[1:]))
    return stacks.as_rgb(original["images"].numpy()), pairs


def _queries_and_bank(trained, data, source):
    """Two dicts {"images": uint8 [n, s, s, 3], "h": float32 [n, d], "labels": int32 [n]}."""
    bank = _look(trained, Sample(source, trained.settings["seed"], BANK))
    if sources.describe(data).num_eval:
        held_out = sources.open_source(data, "eval", trained.settings["seed"])
        pool = _look(trained, Sample(held_out, trained.settings["seed"], 32 * ROWS))
    else:
        pool = {name: rows[:ROWS] for name, rows in bank.items()}
        bank = {name: rows[ROWS:] for name, rows in bank.items()}
    chosen = _one_per_class(pool["labels"])
    return {name: rows[chosen] for name, rows in pool.items()}, bank


def _one_per_class(labels):
    """Positions of 8 images (fewer if there are fewer): first one of each class, then others."""
    first = np.unique(labels, return_index=True)[1]
    others = np.setdiff1d(np.arange(len(labels)), first)
    return np.concatenate([first, others])[:ROWS]


def _look(trained, sample):
    """Images (kept as uint8) and features of a sample."""
    size = trained.settings["image_size"]
    kept = []

    def batches():
        for batch in eval_batches(sample, size, BATCH):
            kept.append(np.uint8(np.rint(255.0 * stacks.as_rgb(batch["images"].numpy()))))
            yield batch

    features = extract_features(trained.encoder, batches(), BATCH)
    return {"images": np.concatenate(kept), "h": features.h, "labels": features.labels}


def _figure(originals, pairs, queries, bank, nearest, class_names):
    columns = 3 + 1 + 1 + NEIGHBOURS
    figure = Figure(figsize=(0.85 * columns, 0.98 * ROWS + 0.5), dpi=100)
    widths = [1, 1, 1, 0.35, 1] + [1] * NEIGHBOURS
    axes = figure.subplots(ROWS, columns, gridspec_kw={"width_ratios": widths})
    for axis in axes.ravel():
        axis.set_axis_off()
    for row in range(ROWS):
        for column, image in enumerate([originals[row], pairs[0, row], pairs[1, row]]):
            axes[row, column].imshow(image)
    for row, query in enumerate(queries["images"]):
        axes[row, 4].imshow(query)
        axes[row, 4].set_title(
            _caption(queries["labels"][row], class_names), fontsize=8, pad=2, parse_math=False
        )
        for column, index in enumerate(nearest[row]):
            same = bank["labels"][index] == queries["labels"][row]
            title = _caption(bank["labels"][index], class_names)
            _neighbour(axes[row, 5 + column], bank["images"][index], title, same)
    figure.text(0.03, 0.985, "image and its two random views", va="top", fontsize=11)
    figure.text(0.36, 0.985, "query and its nearest neighbours by cosine of h", va="top", fontsize=11)  # fmt: skip
    figure.subplots_adjust(0.02, 0.02, 0.98, 0.92, wspace=0.06, hspace=0.25)
    return figure


def _neighbour(axis, image, title, same):
    axis.imshow(image)
    axis.set_title(title, fontsize=8, pad=2, color="black" if same else "red", parse_math=False)
    if not same:
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        for side in axis.spines.values():
            side.set(color="red", linewidth=2)


def _caption(label, class_names):
    return names.shown(class_names[label]) if 0 <= label < len(class_names) else ""
