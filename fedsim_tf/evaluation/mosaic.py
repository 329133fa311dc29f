"""Rows and columns of pictures in one frame, with headings above them."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

CELL_INCHES = 1.9
_GAP_INCHES = 0.04  # around each picture
_TITLE_INCHES = 0.24  # above the figure, and above each row of titles


class Mosaic:
    """A figure of pictures in rows and columns.

    All share one of matplotlib's frames (Axes): a frame for each took most of the time of a run's figures, which have
    hundreds of pictures. Places within it are in inches.

    Args:
      rows, columns: how many pictures there are.
      title: above everything.
      row_titles: whether there is room for titles above each row, or above the first one alone.
      below_inches: height that is left free below the pictures.

    Attributes:
      figure: what is drawn on.
    """

    def __init__(self, rows: int, columns: int, *, title: str, row_titles: bool = False, below_inches: float = 0.0):
        self._row_inches = CELL_INCHES + (_TITLE_INCHES if row_titles else 0.0)
        self._first = _TITLE_INCHES if row_titles else 0.0
        head = _TITLE_INCHES + 0.06 if row_titles else 2 * _TITLE_INCHES
        width, height = CELL_INCHES * columns, self._row_inches * rows
        whole = head + height + below_inches
        # A Figure of its own leaves pyplot and its backend alone.
        self.figure = Figure(figsize=(width, whole))
        self.figure.suptitle(title, fontsize=9, y=1.0 - 0.5 * _TITLE_INCHES / whole, va="center")
        self._axes = self.figure.add_axes((0.0, below_inches / whole, 1.0, height / whole))
        self._axes.set(xlim=(0.0, width), ylim=(height, 0.0))
        self._axes.autoscale(False)
        self._axes.set_axis_off()

    def show(self, row: int, column: int, image: np.ndarray, **settings: Any) -> None:
        """Show a picture (y, x) or (y, x, 3), as large as its cell lets it be; `settings` are those of `imshow`."""
        left, top, width, height = self._place(row, column, image.shape)
        place = (left, left + width, top + height, top)
        self._axes.imshow(image, extent=place, aspect="auto", **settings)

    def show_greys(self, row: int, column: int, image: np.ndarray) -> None:
        """Show a slice (y, x), black at -1 and white at 1."""
        self.show(row, column, image, cmap="gray", vmin=-1.0, vmax=1.0, interpolation="bilinear")

    def outline(self, row: int, column: int, mask: np.ndarray, colour: str) -> None:
        """Draw the border of a mask (y, x) over the picture of the same size there; none has none."""
        if 0 < np.mean(mask > 0.5) < 1:
            left, top, width, height = self._place(row, column, mask.shape)
            ys, xs = ((np.arange(n) + 0.5) / n for n in mask.shape)
            self._axes.contour(left + xs * width, top + ys * height, mask, levels=[0.5], colors=colour, linewidths=1.0)

    def head(self, row: int, column: int, text: str, *, fontsize: float = 8) -> None:
        """Write a heading above a picture."""
        x, y = (column + 0.5) * CELL_INCHES, row * self._row_inches + self._first
        self._axes.text(x, y, text, fontsize=fontsize, ha="center", va="bottom")

    def _place(self, row: int, column: int, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a picture with this many pixels."""
        room = CELL_INCHES - 2 * _GAP_INCHES
        height, width = (room * edge / max(shape[:2]) for edge in shape[:2])
        left = (column + 0.5) * CELL_INCHES - 0.5 * width
        top = row * self._row_inches + self._first + 0.5 * (CELL_INCHES - height)
        return left, top, width, height
