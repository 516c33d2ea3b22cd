"""What a command prints before it does anything, and when it is done."""

from simclr_tf import names

CLASSES_SHOWN = 5


def format_plan(title, rows):
    """A plan as text: a title and aligned "name  value" rows.

    Values may hold names of files and classes; see `names.shown`.
    """
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {names.shown(str(value))}" for name, value in rows]
    return "\n".join([title, *lines])


def classes_in_words(info):
    """ "3 classes (bar 20, disc 20, square 20)": a SourceInfo's classes, with training images."""
    sized = [f"{name} {count:,}" for name, count in info.classes]
    return f"{info.num_classes:,} classes" + (f" ({names.listing(sized, CLASSES_SHOWN)})" if sized else "")  # fmt: skip


def image_rows(info, sample=None):
    """Rows of a plan that say which images do not train, and why.

    Args:
        info: SourceInfo.
        sample: data.value_range.Look at some of the images, or None.
    Returns:
        list of (name, value): what is held out, what is left out and what to look at.
    """
    rows = [("held out", info.held_out)] if info.held_out else []
    rows += [("left out", phrase) for phrase in info.left_out]
    rows += sample_rows(sample)
    sentences = [info.no_labels, info.unlabelled_eval, *info.notes]
    return rows + [("note", sentence) for sentence in sentences if sentence]


def sample_rows(sample):
    """Rows of a plan about some images that were decoded.

    Args:
        sample: data.value_range.Look, or None.
    """
    if sample is None:
        return []
    advice = sample.advice()
    return [("sample", sample.words()), *([("note", advice)] if advice else [])]


def count_parameters(*models):
    """Trainable parameters of built Keras models, as a string with thousands separators."""
    total = sum(variable.shape.num_elements() for m in models for variable in m.trainable_variables)
    return f"{total:,}"


def checkpoint_bytes(model, optimizer):
    """Size of a checkpoint of a built model and its optimizer, which is about that on disk."""
    variables = optimizer.variables
    variables = [*model.variables, *(variables() if callable(variables) else variables)]
    return sum(variable.shape.num_elements() * variable.dtype.size for variable in variables)


def size_text(size):
    """A number of bytes for people, such as 93 MB."""
    power = min(4, (len(str(int(size))) - 1) // 3)
    return f"{size / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


def next_line(arguments):
    """The last line of a command: what may be run next, as arguments of simclr_tf."""
    return f"next: python -m simclr_tf {arguments}"


def format_done(made, where, *commands):
    """The last lines of a command: what it made, where that is, and what to run next.

    Args:
        made: a few words and figures.
        where: path of the result.
        *commands: (reason, arguments of simclr_tf) of commands that may follow.
    """
    rows = [("result", where)]
    rows += [(reason, f"python -m simclr_tf {arguments}") for reason, arguments in commands]
    return format_plan(f"done: {made}", rows)
