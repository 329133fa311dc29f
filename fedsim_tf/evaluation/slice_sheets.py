"""All slices of a volume in one picture for each plane, as data URIs that a page holds itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from fedsim_tf.evaluation.planes import list_slices
from fedsim_tf.regions import REGIONS
from fedsim_tf.resize import linear_matrix

TILE = 128  # pixels along the edge of a slice: smaller grids are enlarged, with smooth outlines
_QUALITY = 85


def image_sheets(image: np.ndarray) -> list[str]:
    """Return a CT's slices in each plane of `list_slices`, one below the other, as a JPEG.

    Args:
      image: (z, y, x) uint8.
    """
    return [_encode(Image.fromarray(_join(_enlarge(slices))), "jpeg") for slices in list_slices(image)]


def outline_sheets(ids: np.ndarray, *, colour: str | None) -> list[str]:
    """Return the outlines of a mask in each plane, one slice below the other, as a PNG that is transparent elsewhere.

    Args:
      ids: (z, y, x) uint8, 1 in the heart or region ids.
      colour: hexadecimal RGB of the heart's outline; None: each region has its own colour.
    """
    sheets = []
    for slices in list_slices(ids):
        outlines = trace_heart(slices) if colour else _trace_regions(slices)
        picture = Image.fromarray(_join(outlines))
        picture.putpalette([0, 0, 0, *_palette(colour)])
        sheets.append(_encode(picture, "png", transparency=0))
    return sheets


def outlined_slice(image: np.ndarray, masks: Sequence[tuple[np.ndarray, str | None]]) -> str:
    """Return one slice with the outlines of masks, of which later ones cover earlier ones, as a JPEG data URI.

    Args:
      image: (rows, columns) uint8.
      masks: (ids, colour) of each, see `outline_sheets`.
    """
    picture = np.repeat(_enlarge(image[None])[0][..., None], 3, axis=-1)
    for ids, colour in masks:
        outlines = (trace_heart(ids[None]) if colour else _trace_regions(ids[None]))[0]
        colours = np.array([0, 0, 0, *_palette(colour)], np.uint8).reshape(-1, 3)
        picture = np.where((outlines > 0)[..., None], colours[outlines], picture)
    return _encode(Image.fromarray(picture), "jpeg")


def trace_heart(slices: np.ndarray) -> np.ndarray:
    """Return the outlines of the heart in slices (n, rows, columns) of ids, 1 where they run, enlarged to `TILE`."""
    inside = _enlarge((slices > 0).astype(np.float32)) > 0.5
    core = inside.copy()  # what is left of the heart without its outermost pixels, the corners' neighbours too
    for axis in (1, 2):
        core = _erode(core, axis)
    return (inside & ~core).astype(np.uint8)


def _trace_regions(slices: np.ndarray) -> np.ndarray:
    factor = _factor(slices)
    ids = np.repeat(np.repeat(slices, factor, axis=1), factor, axis=2)
    sizes = (1, 3, 3)
    is_edge = ndimage.minimum_filter(ids, size=sizes) != ndimage.maximum_filter(ids, size=sizes)
    return np.where(is_edge, ids, 0).astype(np.uint8)


def _erode(masks: np.ndarray, axis: int) -> np.ndarray:
    """Return masks without the pixels that have a neighbour outside along an axis; beyond the picture is outside."""
    moved = np.moveaxis(np.pad(masks, [(int(one == axis),) * 2 for one in range(masks.ndim)]), axis, 0)
    return np.moveaxis(moved[:-2] & moved[1:-1] & moved[2:], 0, axis)


def _palette(colour: str | None) -> list[int]:
    colours = [colour] if colour else [region.colour for region in REGIONS.values()]
    return [value for one in colours for value in bytes.fromhex(one.removeprefix("#"))]


def _enlarge(slices: np.ndarray) -> np.ndarray:
    """Return slices (n, rows, columns) interpolated linearly to about `TILE` columns, of the same type."""
    factor = _factor(slices)
    if factor == 1:
        return slices
    along_rows, along_columns = (linear_matrix(edge, factor * edge) for edge in slices.shape[1:])
    larger = along_rows @ slices.astype(np.float32) @ along_columns.T
    return larger if slices.dtype.kind == "f" else np.rint(larger).astype(slices.dtype)


def _factor(slices: np.ndarray) -> int:
    return max(1, round(TILE / slices.shape[-1]))


def _join(slices: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(slices.reshape(-1, slices.shape[-1]))


def _encode(picture: Image.Image, kind: str, **options: int) -> str:
    if kind == "jpeg":
        options = {"quality": _QUALITY, "subsampling": 0, **options}  # outlines keep their colours
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
