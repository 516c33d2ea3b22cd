"""The folder of real images that needs no download."""

import numpy as np
import pytest
from PIL import Image

from simclr_tf.data import photographs

pytestmark = pytest.mark.one_stack


def test_the_tiles_of_a_photograph_join_to_it_again(tmp_path):
    count = photographs.write_tiles(str(tmp_path))
    files = sorted(tmp_path.glob("*/*.png"))
    assert len(files) == count == 500 and len({one.parent for one in files}) == 12
    pixels = photographs.photographs()["flower"]
    joined = np.zeros_like(pixels)
    for one in tmp_path.glob("flower_*/*.png"):
        row, column = (photographs.SIDE * int(part) for part in one.stem.split("_"))
        tile = np.asarray(Image.open(one))
        joined[row : row + len(tile), column : column + len(tile)] = tile
    height, width = (length // photographs.SIDE * photographs.SIDE for length in pixels.shape[:2])
    np.testing.assert_array_equal(joined[:height, :width], pixels[:height, :width])
