"""The views that the probes look at: one of each image, transformed."""

import dataclasses

import numpy as np

from simclr_tf import config as settings_of
from simclr_tf import streams
from simclr_tf.evaluation.transformations import drawn_classes, transform
from simclr_tf.stack import tf
from simclr_tf.views import draws
from simclr_tf.views.batches import train_batches


def views_of(trained, task):
    """config.Views of the pretraining; where it never drops colour, the default share is used."""
    views = settings_of.section_from(settings_of.Views, trained.settings)
    if task != "color" or views.color_jitter_strength * views.grayscale_prob:
        return views
    default = settings_of.Views()
    strength = views.color_jitter_strength or default.color_jitter_strength
    return dataclasses.replace(
        views, color_jitter_strength=strength, grayscale_prob=default.grayscale_prob
    )


def transformed(config, pair, source, task):
    """One random view of each image, transformed; pair: (config.Views, their function)."""
    views, view = pair
    size = config.data.image_size
    seed = config.run.seed
    count = source.num_examples
    batch = min(config.probe.eval_batch_size, count)
    classes = drawn_classes(task, count, seed)
    # the first `count` places of the shuffled stream hold every image once
    stream = train_batches(source, views, size, batch, seed, num_views=1)
    for number, one in enumerate(stream.take(-(-count // batch))):
        left = min(batch, count - number * batch)
        ids = one["id"].numpy()
        images = view(one)
        if task == "color":
            labels = np.int32(draws.draw(views, seed, draws.rows_of(one, 1)).grayscale.numpy())
        else:
            labels = classes[ids]
            sigma = config.probe.probe_noise_sigma
            images = transform(
                task, images, tf.constant(labels), streams.probe_noise(seed, number), sigma
            )
        columns = {"images": images, "label": labels, "id": ids}
        yield {name: tf.convert_to_tensor(rows)[:left] for name, rows in columns.items()}
