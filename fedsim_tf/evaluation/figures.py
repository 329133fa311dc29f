"""Pictures of a run, drawn with matplotlib: samples, segmentations and loss curves."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import matplotlib.image
import numpy as np
from matplotlib.figure import Figure

from fedsim_tf.evaluation.mosaic import Mosaic
from fedsim_tf.files import write_atomically
from fedsim_tf.training.stage import read_losses

_DPI = 110


def panel(
    path: pathlib.Path,
    rows: Sequence[Sequence[tuple[np.ndarray, np.ndarray | None, np.ndarray | None]]],
    *,
    columns: Sequence[str],
    title: str,
) -> None:
    """Draw rows of slices.

    Args:
      path: the PNG to write.
      rows: cells of (slice (y, x) in [-1, 1], mask outlined in green or None, mask outlined in red or None).
      columns: a heading for each column.
      title: above everything; says which cohort this is.
    """
    mosaic = Mosaic(len(rows), len(columns), title=title)
    for number, cells in enumerate(rows):
        for column, (_, (image, first, second)) in enumerate(zip(columns, cells, strict=True)):
            mosaic.show_greys(number, column, image)
            for outline, colour in ((first, "#39d353"), (second, "#ff5252")):
                if outline is not None:
                    mosaic.outline(number, column, outline, colour)
    for column, heading in enumerate(columns):
        mosaic.head(0, column, heading)
    save_figure(mosaic.figure, path)


def draw_loss_curves(path: pathlib.Path, tables: Mapping[str, pathlib.Path], *, title: str) -> None:
    """Draw a small plot for each stage, with each loss smoothed over a twentieth of the steps and scaled to start at 1.

    Args:
      path: the PNG to write.
      tables: the CSV of losses of each stage; stages without one are left out.
      title: above everything; says which cohort this is.
    """
    shown = {name: rows for name, rows in ((name, read_losses(file)) for name, file in tables.items()) if rows}
    columns = min(3, max(1, len(shown)))
    lines = max(1, -(-len(shown) // columns))
    # A Figure of its own leaves pyplot and its backend alone.
    figure = Figure(figsize=(4.0 * columns, 2.6 * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False)
    for axis in axes.flat[len(shown) :]:
        axis.set_axis_off()
    for axis, (name, rows) in zip(axes.flat, shown.items(), strict=False):
        for key in dict.fromkeys(row[1] for row in rows):
            steps, values = zip(*((step, value) for step, loss, value in rows if loss == key), strict=True)
            smooth = _smooth(np.array(values))
            axis.plot(steps, smooth / max(abs(smooth[0]), 1e-9), label=key, linewidth=1.0)
        axis.set_title(name, fontsize=8)
        axis.tick_params(labelsize=6)
        axis.set_xlabel("step", fontsize=6)
        axis.legend(fontsize=5)
    figure.suptitle(f"{title} (each loss relative to its start)", fontsize=9)
    save_figure(figure, path)


def stack_pictures(path: pathlib.Path, pictures: Mapping[str, pathlib.Path]) -> None:
    """Draw pictures (PNG) one above the other, each under its name."""
    images = {name: matplotlib.image.imread(file) for name, file in pictures.items()}
    width = max(image.shape[1] for image in images.values())
    heights = [image.shape[0] / image.shape[1] for image in images.values()]
    inches = width / _DPI
    figure = Figure(figsize=(inches, inches * sum(heights) + 0.3 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), 1, height_ratios=heights, squeeze=False)
    for axis, (name, image) in zip(axes.flat, images.items(), strict=True):
        axis.imshow(image)
        axis.set_title(name, fontsize=9)
        axis.set_axis_off()
    save_figure(figure, path)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Return the running mean over a twentieth of the values; the window is cut off at the ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return (sums[high] - sums[low]) / (high - low)


def save_figure(figure: Figure, path: pathlib.Path, *, dpi: int = _DPI) -> None:
    """Write a figure as PNG, atomically."""
    with write_atomically(path) as temporary:
        figure.savefig(temporary, dpi=dpi, format="png")
