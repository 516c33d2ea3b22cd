"""Training images that set the ranges of an int8 conversion."""

from simclr_tf.data import decoding, preprocess, sources
from simclr_tf.runs.restore import data_of

_SAMPLES = 200  # images that set the ranges of an int8 conversion


def samples(settings):
    """Training images of the run, prepared as for evaluation: dataset of float32 [1, s, s, c]."""
    data = data_of(settings)
    source = sources.open_source(data, "train", settings.get("seed", 0))

    def prepare(example):
        image = decoding.decode(example["image"], source.channels)
        return preprocess.eval_image(image, data.image_size)

    return source.stream(seed=0).take(_SAMPLES).map(prepare).batch(1)
