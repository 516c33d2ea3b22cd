"""A folder of drawn signs: strokes whose place, size, slant and ends differ from image to image."""

import os

import numpy as np
from PIL import Image, ImageDraw

SIGNS = {
    "arrow": [[(0, 1), (1, 0)], [(0.3, 0), (1, 0), (1, 0.7)]],
    "cross": [[(0, 0), (1, 1)], [(0, 1), (1, 0)]],
    "gate": [[(0, 1), (0, 0), (1, 0), (1, 1)]],
    "hourglass": [[(0, 0), (1, 0), (0, 1), (1, 1), (0, 0)]],
    "ladder": [
        [(0.1, 0), (0.1, 1)],
        [(0.9, 0), (0.9, 1)],
        [(0.1, 0.35), (0.9, 0.35)],
        [(0.1, 0.7), (0.9, 0.7)],
    ],  # fmt: skip
    "wave": [[(0, 0.7), (0.3, 0.1), (0.6, 0.9), (1, 0.2)]],
}


def draw_signs(root, per_class, side=32, seed=0):
    """Writes `per_class` grey PNG files for each of six signs, one folder per sign."""
    rng = np.random.default_rng(seed)
    for name, strokes in SIGNS.items():
        os.makedirs(os.path.join(str(root), name), exist_ok=True)
        for index in range(per_class):
            image = Image.new("L", (side, side), int(rng.integers(0, 40)))
            pen = ImageDraw.Draw(image)
            turn = rng.uniform(-0.4, 0.4)
            slant = rng.uniform(-0.2, 0.2)
            matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
            matrix = side * rng.uniform(0.4, 0.65) * matrix @ [[1, slant], [0, 1]]
            place = side / 2 + rng.uniform(-0.12 * side, 0.12 * side, 2)
            ink = int(rng.integers(150, 256))
            width = int(rng.integers(2, 5))
            for stroke in strokes:
                points = np.array(stroke) - 0.5 + rng.normal(0, 0.06, (len(stroke), 2))
                pen.line([tuple(p) for p in points @ matrix.T + place], ink, width, joint="curve")
            image.save(os.path.join(str(root), name, f"{index:03d}.png"))
