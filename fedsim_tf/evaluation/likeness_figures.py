"""Draw how much synthetic volumes look like their site's: slices of both, and their CT values by tissue."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedsim_tf.evaluation.figures import CELL_INCHES, save_figure
from fedsim_tf.evaluation.likeness import MeasuredVolumes
from fedsim_tf.evaluation.tissues import TISSUES

SHOWN = 8  # slices of each kind
HEIGHTS = (0.25, 0.75)  # of the first and last slice shown, as shares of the volume's height
BINS = 100
COLOURS = {"real": "#1f77b4", "synthetic": "#ff7f0e"}


def draw_likeness(
    path: pathlib.Path,
    real: MeasuredVolumes,
    synthetic: MeasuredVolumes,
    *,
    window_hu: tuple[float, float],
    title: str,
) -> None:
    """Draw slices of real volumes above synthetic ones, and the distributions of CT values in each tissue.

    Args:
      path: the PNG to write.
      real, synthetic: volumes of the same size.
      window_hu: CT values that are -1 and 1 in images.
      title: above everything; says which cohort this is.
    """
    measured = {"real": real, "synthetic": synthetic}
    figure = Figure(figsize=(CELL_INCHES * SHOWN, CELL_INCHES * 2 + 3.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(CELL_INCHES * 2 + 0.4, 2.6))
    slices, distributions = parts
    axes = slices.subplots(2, SHOWN)
    for line, (name, volumes) in zip(axes, measured.items(), strict=True):
        for axis, image in zip(line, spread_slices(volumes.annotated.images), strict=True):
            axis.imshow(image, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="bilinear")
            axis.set_axis_off()
        line[0].set_title(name, fontsize=9)
    for axis, tissue in zip(distributions.subplots(1, len(TISSUES)), TISSUES, strict=True):
        values_hu = {name: volumes.values_hu[tissue] for name, volumes in measured.items()}
        _histogram(axis, tissue, {name: np.concatenate(found) for name, found in values_hu.items() if found}, window_hu)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, path)


def spread_slices(images: np.ndarray) -> np.ndarray:
    """Return eight slices (8, y, x) of volumes (n, z, y, x), ever higher up and from as many volumes as there are."""
    volumes = np.arange(SHOWN) * len(images) // SHOWN if len(images) >= SHOWN else np.arange(SHOWN) % len(images)
    heights = np.linspace(*HEIGHTS, SHOWN) * (images.shape[1] - 1)
    return images[volumes, np.rint(heights).astype(int)]


def _histogram(axis: Axes, tissue: str, values_hu: Mapping[str, np.ndarray], window_hu: tuple[float, float]) -> None:
    edges = np.linspace(*window_hu, BINS + 1)
    for name, found in values_hu.items():
        shares = np.histogram(found, edges)[0] / found.size
        axis.stairs(shares, edges, color=COLOURS[name], label=f"{name}: {found.mean():.0f} ± {found.std():.0f} HU")
    axis.set_title(tissue, fontsize=8)
    axis.set_xlabel("CT value, HU", fontsize=7)
    axis.tick_params(labelsize=6)
    axis.set_yticks([])
    if values_hu:
        axis.legend(fontsize=7)
