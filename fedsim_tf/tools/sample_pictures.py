"""A picture of volumes that were sampled, to look at before they are used."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping

import numpy as np

from fedsim_tf.data.preprocess import unit_from_hu
from fedsim_tf.data.reading import read_volume

SHOWN = 6  # volumes, from the first to the last


def choose_shown(count: int) -> list[int]:
    """Return which of so many volumes are shown: the first, the last, and some between them at even distances."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, SHOWN)).tolist()})


def draw_volumes(
    path: pathlib.Path, files: Mapping[int, tuple[pathlib.Path, pathlib.Path]], *, window_hu: tuple[float, float]
) -> None:
    """Draw volumes in three planes through their hearts, one above the other, with the outlines of their hearts.

    Args:
      path: where the PNG goes.
      files: image and label of each volume, by its number.
      window_hu: the CT values that are black and white.
    """
    from fedsim_tf.evaluation.figures import stack_pictures
    from fedsim_tf.evaluation.planes import draw_planes
    from fedsim_tf.evaluation.viewers import find_centre

    with tempfile.TemporaryDirectory() as folder:
        pictures = {}
        for number, (image_file, label_file) in files.items():
            image, heart = read_volume(image_file), read_volume(label_file).array > 0
            name = image_file.name
            pictures[name] = pathlib.Path(folder) / f"{number}.png"
            values, label = unit_from_hu(image.array, window_hu), heart.astype(np.uint8)
            extent_mm = image.field_of_view_mm
            draw_planes(pictures[name], values, label, find_centre(label), extent_mm=extent_mm, title="")
        stack_pictures(path, pictures)
