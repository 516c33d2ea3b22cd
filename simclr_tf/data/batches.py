"""Batches that survive bad images: decode and transform in parallel, replace what fails.

tf.data stops at the first error. Catching errors image by image would cost a small pipeline per
image, so it is done per chunk: a chunk in which nothing fails costs nothing extra; one in which
something fails is done again, image by image, and the failing ones give way to stand-ins.
"""

import os

from simclr_tf import streams
from simclr_tf.data import decoding, order
from simclr_tf.stack import no_autograph, numpy_function, tf

CHUNK = 16  # at least so many images share the cost of catching errors
_TRIES = 32  # stand-ins tried for one bad image


def chunk_size(batch_size):
    """The smallest divisor of `batch_size` that is at least CHUNK, or `batch_size` itself."""
    divisors = (d for d in range(CHUNK, batch_size + 1) if batch_size % d == 0)
    return next(divisors, batch_size)


def as_written(dataset):
    """The dataset without tf.data's rewriting of its graph.

    The pipelines here are parallel, batched and prefetched where it pays. Looking for more finds
    nothing, and takes a third of the time in which a pipeline starts.

    Args:
        dataset: tf.data.Dataset.
    """
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return dataset.with_options(options)


@no_autograph
def mapped_batches(source, fn, batch_size, seed=None, start=0, padded_shapes=None, draw=None):
    """Batches of fn(example) over a source; examples that cannot be read give way to others.

    Image and label of a stand-in are a function of the bad image's id and the source's seed; id,
    epoch and so the views are those of the place. `source.quarantine` notes bad images.

    Args:
        source: Source.
        fn: example dict (as `Source.stream`) -> dict of tensors of fixed shapes; runs in tf.data,
            and raises tf.errors.InvalidArgumentError for an image that it cannot decode.
        batch_size: int.
        seed: int for the endless shuffled stream; None for every example once, in order.
        start: global position at which the stream begins, or order.Share of it.
        padded_shapes: for results of other shapes: what to pad them to with zeros, by name.
        draw: references (dict of [n]) -> dict of [n, ...] for `fn` beside them, made at once.
    Returns:
        tf.data.Dataset of batched results: always full if endless, the last one partial if not.
    """
    if seed is None:
        examples = source.references_in_order()
        chunk = batch_size
    else:
        examples = source.references(seed, start)
        chunk = chunk_size(batch_size)
    guard = _Guard(source, fn)
    threads = os.cpu_count() or 1
    inner = min(threads, chunk)

    def do(references):
        drawn = draw(references) if draw else {}
        parts = tf.data.Dataset.from_tensor_slices({**references, **drawn})
        count = chunk if seed is not None else tf.size(references["id"], tf.int64)
        quick = parts.map(guard.apply, num_parallel_calls=inner, deterministic=True)
        careful = parts.map(guard.apply_or_replace)
        quick, careful = (_gathered(each, count, padded_shapes) for each in (quick, careful))
        return quick.ignore_errors().concatenate(careful).take(1)

    chunks = examples.batch(chunk, drop_remainder=seed is not None)
    at_once = -(-threads // inner) + 1  # while the last images of a chunk finish, the next begins
    done = chunks.interleave(do, at_once, 1, num_parallel_calls=at_once, deterministic=True)
    return as_written(_joined(done, batch_size // chunk) if seed is not None else done)


@no_autograph
def usable(source, fn, start=0):
    """fn(example) of every example that can be used, ids ascending; the others are left out.

    Args:
        source, fn: as `mapped_batches`.
        start: id of the first example.
    Returns:
        tf.data.Dataset of single results.
    """
    examples = source.references_in_order().skip(start)
    apply = _Guard(source, fn).apply
    done = examples.map(apply, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return as_written(done.ignore_errors())


def _gathered(results, count, padded_shapes):
    """One batch of all results, padded if asked for."""
    if padded_shapes is None:
        return results.batch(count, drop_remainder=True)
    return results.padded_batch(count, padded_shapes, drop_remainder=True)


def _joined(chunks, count):
    """Every `count` consecutive chunks as one batch."""
    if count == 1:
        return chunks

    def join(part):
        joined = tf.reshape(part, tf.concat([[-1], tf.shape(part)[2:]], 0))
        joined.set_shape([part.shape[0] * part.shape[1], *part.shape[2:]])
        return joined

    batches = chunks.batch(count, drop_remainder=True)
    return batches.map(lambda results: {name: join(part) for name, part in results.items()})


class _Guard:
    """`fn` on one example, with or without replacement of bad images."""

    def __init__(self, source, fn):
        self._source = source
        self._fn = fn
        self.apply = tf.function(self._apply, autograph=False)  # traced once for all its places

    def _apply(self, example):
        """Reference -> result; raises (tf.errors) if the image cannot be used."""
        image = self._source.resolve(example["image"])
        if image.dtype == tf.string:
            # Too large to decode is treated like damaged: no bytes, no image.
            limit = self._source.max_image_pixels
            image = tf.where(decoding.pixels(image) <= limit, image, b"")
        return self._fn({**example, "image": image})

    def apply_or_replace(self, example):
        """Reference -> result of it or of its first stand-in that can be used."""
        one = tf.data.Dataset.from_tensors(example)
        tried = one.map(self.apply).ignore_errors()
        replaced = one.map(self._report).flat_map(self._stand_ins)
        last = one.map(self._give_up)
        return tried.concatenate(replaced).concatenate(last).take(1).get_single_element()

    def _report(self, example):
        arguments = [example["id"], example["image"]]
        done = numpy_function(self._source.report, arguments, tf.int64)
        with tf.control_dependencies([done]):
            return {key: tf.identity(value) for key, value in example.items()}

    def _stand_ins(self, example):
        source = self._source

        def stand_in(attempt):
            place = example["id"], source.num_examples, source.seed, attempt
            image, label = source.fetch(order.permuted(*place, salt=streams.STAND_INS))
            return self.apply({**example, "image": image, "label": label})

        return tf.data.Dataset.range(_TRIES).map(stand_in).ignore_errors()

    def _give_up(self, example):
        done = numpy_function(self._source.report_hopeless, [example["id"]], tf.int64)
        with tf.control_dependencies([done]):
            return self.apply({key: tf.identity(value) for key, value in example.items()})
