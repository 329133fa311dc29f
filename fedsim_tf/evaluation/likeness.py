"""Show how much synthetic volumes look like their site's: a picture of slices and CT values by tissue, and numbers."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedsim_tf.evaluation.figures import CELL_INCHES, save_figure
from fedsim_tf.evaluation.region_figures import add_legend, colour_regions
from fedsim_tf.evaluation.tissues import TISSUES, Tissues, compare_tissues, tissue_values_hu
from fedsim_tf.records.fold_scores import TissueComparison
from fedsim_tf.regions import BACKGROUND
from fedsim_tf.training.annotated_labels import are_whole_hearts
from fedsim_tf.training.volumes import Volumes

SHOWN = 8  # slices of each kind
HEIGHTS = (0.25, 0.75)  # of the first and last slice shown, as shares of the volume's height
BINS = 100
COLOURS = {"real": "#1f77b4", "synthetic": "#ff7f0e"}


def show_likeness(
    path: pathlib.Path, real: Volumes, synthetic: Volumes, *, window_hu: tuple[float, float], title: str
) -> dict[str, TissueComparison]:
    """Draw slices of real volumes above synthetic ones and the distributions of CT values in heart, lung and bone.

    Where volumes have regions, the slices are shown a second time with these in colours.

    Args:
      path: the PNG to write.
      real, synthetic: annotated volumes of the same size.
      window_hu: CT values that are -1 and 1 in images.
      title: above everything; says which cohort this is.

    Returns:
      CT values by tissue, see `compare_tissues`.
    """
    values = {name: tissue_values_hu(part, window_hu) for name, part in (("real", real), ("synthetic", synthetic))}
    rows = [*_list_rows("real", real), *_list_rows("synthetic", synthetic)]
    figure = Figure(figsize=(CELL_INCHES * SHOWN, CELL_INCHES * len(rows) + 3.0), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(CELL_INCHES * len(rows) + 0.4, 2.6))
    slices, distributions = parts
    for line, row in zip(slices.subplots(len(rows), SHOWN), rows, strict=True):
        _draw_row(line, row)
    add_legend(figure, {region for row in rows if row.ids is not None for region in np.unique(row.ids).tolist()})
    for axis, tissue in zip(distributions.subplots(1, len(TISSUES)), TISSUES, strict=True):
        _histogram(axis, tissue, {name: found[tissue] for name, found in values.items()}, window_hu)
    figure.suptitle(title, fontsize=9)
    save_figure(figure, path)
    return compare_tissues(values["real"], values["synthetic"])


class _Row(NamedTuple):
    """Slices (n, y, x) in [-1, 1] under a title, with region ids (n, y, x) where these are shown."""

    title: str
    images: np.ndarray
    ids: np.ndarray | None = None


def _list_rows(name: str, volumes: Volumes) -> list[_Row]:
    row = _Row(name, spread_slices(volumes.images))
    if volumes.regions is None:
        return [row]
    whole = are_whole_hearts(volumes.regions)[:, None, None, None]  # they are no left ventricles
    return [row, _Row(f"{name}, regions", row.images, spread_slices(np.where(whole, BACKGROUND, volumes.regions)))]


def _draw_row(axes: Sequence[Axes], row: _Row) -> None:
    for number, (axis, image) in enumerate(zip(axes, row.images, strict=True)):
        if row.ids is None:
            axis.imshow(image, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="bilinear")
        else:
            axis.imshow(colour_regions(image, row.ids[number]), interpolation="nearest")
        axis.set_axis_off()
    axes[0].set_title(row.title, fontsize=9)


def spread_slices(images: np.ndarray) -> np.ndarray:
    """Return eight slices (8, y, x) of volumes (n, z, y, x), ever higher up and from as many volumes as there are."""
    volumes = np.arange(SHOWN) * len(images) // SHOWN if len(images) >= SHOWN else np.arange(SHOWN) % len(images)
    heights = np.linspace(*HEIGHTS, SHOWN) * (images.shape[1] - 1)
    return images[volumes, np.rint(heights).astype(int)]


def _histogram(axis: Axes, tissue: str, values_hu: Tissues, window_hu: tuple[float, float]) -> None:
    edges = np.linspace(*window_hu, BINS + 1)
    for name, found in values_hu.items():
        if found.size:
            shares = np.histogram(found, edges)[0] / found.size
            axis.stairs(shares, edges, color=COLOURS[name], label=f"{name}: {found.mean():.0f} ± {found.std():.0f} HU")
    axis.set_title(tissue, fontsize=8)
    axis.set_xlabel("CT value, HU", fontsize=7)
    axis.tick_params(labelsize=6)
    axis.set_yticks([])
    axis.legend(fontsize=7)
