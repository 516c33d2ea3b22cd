"""The transformations that the probes ask for (paper section 4.2): what was done to this view?"""

import numpy as np

from simclr_tf import streams
from simclr_tf.stack import tf

CLASSES = {
    "color": ("colour", "grey"),
    "rotation": ("0", "90", "180", "270"),
    "noise": ("without noise", "noise"),
    "sobel": ("original", "Sobel"),
}
"""Task: names of its classes. Colour against grey is drawn by the views themselves."""


def drawn_classes(task, count, seed):
    """The class of each image: int32 [count], uniform, a function of the arguments only."""
    # RandomState: its stream is frozen by NumPy, so every version draws the same classes.
    rng = np.random.RandomState(streams.probe_classes(seed, sorted(CLASSES).index(task)))
    return rng.randint(len(CLASSES[task]), size=count).astype(np.int32)


def transform(task, images, classes, seed, noise_sigma):
    """Does to each image what its class says.

    Args:
        task: "rotation" (class k: k quarter turns), "noise" or "sobel" (class 1: done).
        images: float32 [b, s, s, 3] in [0, 1].
        classes: int32 [b].
        seed: int [2], of the noise.
        noise_sigma: its standard deviation.
    Returns:
        float32 [b, s, s, 3] in [0, 1].
    """
    if task == "rotation":
        turned = tf.stack([tf.image.rot90(images, k) for k in range(4)])
        return tf.gather(tf.transpose(turned, [1, 0, 2, 3, 4]), classes, batch_dims=1)
    if task == "noise":
        noise = tf.random.stateless_normal(tf.shape(images), seed, stddev=noise_sigma)
        changed = tf.clip_by_value(images + noise, 0.0, 1.0)
    else:
        changed = sobel(images)
    return tf.where(classes[:, None, None, None] == 1, changed, images)


def sobel(images):
    """Magnitude of the Sobel gradient per channel, stretched to [0, 1] in each image."""
    edges = tf.image.sobel_edges(images)  # [b, s, s, 3, 2]
    magnitude = tf.sqrt(tf.reduce_sum(edges**2, axis=-1))
    largest = tf.reduce_max(magnitude, axis=[1, 2, 3], keepdims=True)
    return tf.math.divide_no_nan(magnitude, largest)
