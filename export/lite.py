"""Reads a .tflite file of ours back: what it says of images, and how long it takes for one."""

import warnings

import numpy as np

from simclr_tf.evaluation.speed import median_milliseconds
from simclr_tf.stack import tf


class LiteModel:
    """A .tflite file, run by TensorFlow's own interpreter on one thread of the CPU.

    Args:
        path: of the file; any tf.io.gfile path.
    """

    def __init__(self, path: str):
        with tf.io.gfile.GFile(path, "rb") as file:
            content = file.read()
        self.megabytes = len(content) / 1e6
        with warnings.catch_warnings():
            # TensorFlow 2.21 announces that another package will have it; that is not installed
            warnings.simplefilter("ignore", UserWarning)
            interpreter = tf.lite.Interpreter(model_content=content, num_threads=1)
        self._runner = interpreter.get_signature_runner("serving_default")

    def logits(self, images: np.ndarray) -> np.ndarray:
        """Images float32 [b, s, s, c] in [0, 1] -> logits float32 [b, classes]."""
        return self._runner(images=images)["logits"]

    def milliseconds_per_image(self, shape) -> float:
        """The median time for one image of this shape, [s, s, c]."""
        image = np.random.default_rng(0).random([1, *shape], np.float32)
        return median_milliseconds(lambda: self._runner(images=image))
