"""Where pictures lie in a mosaic, read back from its pixels."""

import numpy as np
import pytest

from fedsim_tf.evaluation.figures import save_figure
from fedsim_tf.evaluation.mosaic import CELL_INCHES, Mosaic
from tests.evaluation.pictures_for_tests import pixels

DPI = 100
CELL = round(CELL_INCHES * DPI)


def draw(path, mosaic):
    save_figure(mosaic.figure, path, dpi=DPI)
    return pixels(path)


def find(image, colour):
    """First and last row and column of a colour."""
    rows, columns = np.nonzero(np.abs(image - colour).max(axis=-1) < 5)
    return rows.min(), rows.max(), columns.min(), columns.max()


def plain(height, width, colour):
    return np.broadcast_to(np.array(colour) / 255.0, (height, width, 3))


def test_pictures_fill_their_cells_as_far_as_their_proportions_let_them(tmp_path):
    mosaic = Mosaic(2, 3, title="t")
    mosaic.show(0, 1, plain(10, 10, (255, 0, 0)))
    mosaic.show(1, 2, plain(5, 20, (0, 0, 255)))
    image = draw(tmp_path / "a.png", mosaic)
    assert image.shape[1] == 3 * CELL
    top, bottom, left, right = find(image, (255, 0, 0))
    assert left - CELL == pytest.approx(2 * CELL - 1 - right, abs=2)
    assert bottom - top == pytest.approx(right - left, abs=2)
    assert right - left > 0.9 * CELL
    top, bottom, left, right = find(image, (0, 0, 255))
    assert left - 2 * CELL == pytest.approx(3 * CELL - 1 - right, abs=2)
    assert right - left == pytest.approx(4 * (bottom - top), abs=6)
    assert (top + bottom) / 2 == pytest.approx(image.shape[0] - CELL / 2, abs=2)  # in the middle of the last row


def test_what_is_below_stays_free_and_rows_with_titles_lie_further_apart(tmp_path):
    heights = {}
    for name, options in (("plain", {}), ("titles", {"row_titles": True}), ("below", {"below_inches": 1.0})):
        mosaic = Mosaic(3, 1, title="t", **options)
        for row in range(3):
            mosaic.show(row, 0, plain(4, 4, (0, 128, 0)))
        image = draw(tmp_path / f"{name}.png", mosaic)
        top, bottom, *_ = find(image, (0, 128, 0))
        heights[name] = bottom - top
        free = image.shape[0] - 1 - bottom
        assert free == pytest.approx(DPI if name == "below" else 0, abs=6)
    assert heights["below"] == pytest.approx(heights["plain"], abs=2)
    assert heights["titles"] > heights["plain"] + 2 * 0.15 * DPI


def test_an_outline_lies_where_the_mask_does(tmp_path):
    """Along the edges of its outermost pixels."""
    mosaic = Mosaic(1, 2, title="t")
    mask = np.zeros((20, 20))
    mask[5:15, 10:18] = 1
    mosaic.show_greys(0, 1, np.full((20, 20), -1.0))
    mosaic.outline(0, 1, mask, "#ff0000")
    image = draw(tmp_path / "a.png", mosaic)
    red = (image[..., 0] > 100) & (image[..., 1] < 50)
    rows, columns = np.nonzero(red)
    edges = find(image, (0, 0, 0))
    pixel = (edges[3] - edges[2] + 1) / 20
    assert rows.min() - edges[0] == pytest.approx(5 * pixel, abs=2)
    assert rows.max() - edges[0] == pytest.approx(15 * pixel, abs=2)
    assert columns.min() - edges[2] == pytest.approx(10 * pixel, abs=2)
    assert columns.max() - edges[2] == pytest.approx(18 * pixel, abs=2)
