"""A small folder of real images without a download: photographs of other packages, cut into tiles.

    python -m simclr_tf.data.photographs runs/photographs

scikit-learn brings a Chinese temple and a flower along, matplotlib a portrait. Each is cut into tiles
of 40 x 40 pixels that do not overlap. A class is a quarter of a photograph, such as `flower_top_left`.
"""

import os
import pathlib
import sys

SIDE = 40


def photographs():
    """{name: uint8 [h, w, 3]} of the three photographs."""
    import matplotlib
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_image

    portrait = pathlib.Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(portrait) as image:
        pixels = np.asarray(image.convert("RGB"))
    return {
        "flower": load_sample_image("flower.jpg"),
        "portrait": pixels,
        "temple": load_sample_image("china.jpg"),
    }


def write_tiles(folder):
    """Writes every tile as folder/CLASS/ROW_COLUMN.png.

    Args:
        folder: path; its files of the same names are replaced.
    Returns:
        how many tiles there are.
    """
    from PIL import Image

    count = 0
    for name, pixels in photographs().items():
        rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
        for row in range(rows):
            for column in range(columns):
                high = "top" if 2 * row < rows else "bottom"
                side = "left" if 2 * column < columns else "right"
                place = os.path.join(folder, f"{name}_{high}_{side}")
                os.makedirs(place, exist_ok=True)
                tile = pixels[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
                Image.fromarray(tile).save(os.path.join(place, f"{row:02}_{column:02}.png"))
                count += 1
    return count


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m simclr_tf.data.photographs FOLDER")
    print(f"{write_tiles(sys.argv[1])} tiles of three photographs are in {sys.argv[1]}")
