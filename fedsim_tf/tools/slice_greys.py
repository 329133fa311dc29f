"""How bright each region is in rendered pictures, beside the real pictures whose masks they were rendered from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from fedsim_tf.evaluation.tables import Table
from fedsim_tf.regions import BACKGROUND, REGIONS, WHOLE_HEART

_DECIMALS = 1


class RegionGreys(NamedTuple):
    """Mean grey of one region over several pictures, 0 black and 255 white, and the spread of its pixels.

    Attributes:
      name: the region.
      pictures: in how many pictures the region is seen.
      real_mean, real_spread: mean and standard deviation of its pixels in the real pictures.
      rendered_mean, rendered_spread: the same in the rendered ones.
    """

    name: str
    pictures: int
    real_mean: float
    real_spread: float
    rendered_mean: float
    rendered_spread: float


def measure_greys(real: np.ndarray, rendered: np.ndarray, labels: np.ndarray) -> list[RegionGreys]:
    """Return the greys of the whole heart, and of each region where labels tell several apart.

    Args:
      real: (n, y, x) pictures in [-1, 1].
      rendered: (n, y, x) likewise, made from the real ones' masks.
      labels: (n, y, x) region ids; 1 is the whole heart where no other id occurs.
    """
    found = [region for region in REGIONS if (labels == region).any()]
    parts = {"heart": labels != BACKGROUND}
    if found != [WHOLE_HEART]:
        parts |= {REGIONS[region].title: labels == region for region in found}
    return [_measure(name, real, rendered, part) for name, part in parts.items()]


def tabulate_greys(greys: Iterable[RegionGreys]) -> Table:
    """Return a row of words for each region."""
    rows = []
    for name, pictures, *values in greys:
        rows.append([name, str(pictures), *(f"{value:.{_DECIMALS}f}" for value in values)])
    headings = ("region", "pictures", "real mean", "real spread", "rendered mean", "rendered spread")
    return Table(headings, rows)


def _measure(name: str, real: np.ndarray, rendered: np.ndarray, part: np.ndarray) -> RegionGreys:
    pictures = int(part.any(axis=(1, 2)).sum())
    values = [(images[part] + 1.0) * 127.5 for images in (real, rendered)]
    return RegionGreys(name, pictures, *(float(f(v)) if v.size else np.nan for v in values for f in (np.mean, np.std)))
