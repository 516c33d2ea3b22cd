"""Images of which only a part is decoded have the pixels of the whole."""

import numpy as np
import pytest
from PIL import Image

from simclr_tf.data import decoding, preprocess
from simclr_tf.stack import tf
from tests.data.test_decoding import encoded, picture


def noisy_files():
    """Every kind of JPEG, one that is turned and a PNG, of shapes that leave odd margins."""
    turned = Image.Exif()
    turned[0x0112] = 6
    for height, width in ((61, 83), (375, 500), (40, 33), (77, 50)):
        for mode, subsampling in (("RGB", 0), ("RGB", 1), ("RGB", 2), ("L", 0)):
            image = picture(mode, height, width)
            noise = np.random.default_rng(height).integers(-9, 10, np.asarray(image).shape)
            image = Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype("uint8"))
            plain = encoded(image, "JPEG", quality=90, subsampling=subsampling)
            assert decoding.is_plain_jpeg(plain)
            yield plain
            yield encoded(image, "JPEG", exif=turned)
            yield encoded(image, "PNG")


@pytest.mark.parametrize("size", [32, 48])
def test_partly_decoded_evaluation_images_have_the_same_pixels(size):
    files = list(noisy_files())  # one pipeline for all: tracing it is what takes time
    images = tf.data.Dataset.from_tensor_slices(files)
    found = list(images.map(lambda data: preprocess.eval_encoded(data, size)))
    assert len(found) == len(files) == 48
    for got, data in zip(found, files):
        np.testing.assert_array_equal(got, preprocess.eval_image(decoding.decode(data), size))


def test_windows_of_a_partly_decoded_image_have_its_pixels():
    drawn = np.random.default_rng(0).random([6, 2, 4])
    drawn[0] = [0, 0, 0, 0]
    drawn[1] = [1, 1, 0, 0]
    drawn[2] = [[0, 0, 1, 1], [0.5, 0.5, 0.2, 0.2]]

    def windows_at(row):
        def windows(height, width):
            extent = tf.cast([height - 1, width - 1], tf.float32)
            place = tf.floor(row[:, :2] * extent)
            size = tf.floor(row[:, 2:] * (extent - place))
            return tf.cast(tf.concat([place, size + 1.0], 1), tf.int32)

        return windows

    files = list(noisy_files())
    rows = np.tile(drawn, [len(files) // 6, 1, 1]).astype("float32")
    pairs = tf.data.Dataset.from_tensor_slices((files, rows))
    found = pairs.map(lambda data, row: decoding.decode_windows(data, windows_at(row)))
    for (part, boxes), data, row in zip(found, files, rows):
        whole = decoding.decode(data).numpy()
        wanted = windows_at(row)(*whole.shape[:2]).numpy()
        for (y, x, high, wide), (top, left, *size) in zip(boxes.numpy(), wanted):
            assert [high, wide] == size
            got = part[y : y + high, x : x + wide]
            np.testing.assert_array_equal(got, whole[top : top + high, left : left + wide])
