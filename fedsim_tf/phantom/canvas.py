"""A volume on which structures are painted one over the other, in mm."""

from __future__ import annotations

import itertools

import numpy as np

from fedsim_tf.shape.grid import Grid

Box = tuple[slice, slice, slice]


class Canvas:
    """A volume of values on which boxes, tubes and ellipsoids are painted; coordinates are LPS in mm.

    Attributes:
      grid: the voxels' shape, spacing and origin.
      values: (z, y, x) float32.
      x, y, z: voxel centres in mm, shaped to broadcast to `values`.
    """

    def __init__(self, grid: Grid, background: float):
        self.grid = grid
        self.values = np.full(grid.shape, background, np.float32)
        axes = [
            (origin + step * np.arange(n)).astype(np.float32)
            for origin, step, n in zip(grid.origin_mm, grid.spacing_mm, grid.shape[::-1], strict=True)
        ]
        self.x, self.y, self.z = axes[0][None, None, :], axes[1][None, :, None], axes[2][:, None, None]

    def paint(self, coverage: np.ndarray, value: np.ndarray | float, box: Box = (slice(None),) * 3) -> None:
        """Blend `value` over what is there with weight `coverage`, which is from 0 to 1, or a mask."""
        under = self.values[box]
        if coverage.dtype == bool:
            np.copyto(under, value, where=np.broadcast_to(coverage, under.shape), casting="same_kind")
        else:
            under += coverage * (value - under)

    def box(self, low_mm: np.ndarray, high_mm: np.ndarray) -> Box:
        """Return the slices (z, y, x) of the voxels between two corners (x, y, z) in mm."""
        origin, step = np.array(self.grid.origin_mm), np.array(self.grid.spacing_mm)
        count = np.array(self.grid.shape[::-1])
        first = np.clip(np.floor((low_mm - origin) / step).astype(int), 0, count)
        end = np.clip(np.ceil((high_mm - origin) / step).astype(int) + 1, first, count)
        return tuple(slice(a, b) for a, b in zip(first[::-1], end[::-1], strict=True))  # type: ignore[return-value]

    def paint_tube(
        self, path: np.ndarray, radii: np.ndarray | float, *, value: float, only: np.ndarray | None = None
    ) -> None:
        """Paint a tube along a polyline (n, 3) with radii (n,), soft at its border.

        Args:
          path: (n, 3) in mm.
          radii: (n,) in mm, or one radius.
          value: what is painted.
          only: a mask (z, y, x); nothing is painted outside it.
        """
        radii = np.broadcast_to(np.asarray(radii, np.float32), len(path))
        path = np.asarray(path, np.float32)
        for ends, widths in zip(itertools.pairwise(path), itertools.pairwise(radii), strict=True):
            self._paint_segment(ends, widths, value=value, only=only)

    def _paint_segment(
        self,
        ends: tuple[np.ndarray, np.ndarray],
        radii: tuple[float, float],
        *,
        value: float,
        only: np.ndarray | None,
    ) -> None:
        (start, end), (first, last) = ends, radii
        reach = max(first, last) + max(self.grid.spacing_mm)
        box = self.box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        if any(part.stop <= part.start for part in box):
            return
        dx, dy, dz = self.x[..., box[2]] - start[0], self.y[:, box[1]] - start[1], self.z[box[0]] - start[2]
        along = end - start
        t = np.clip((dx * along[0] + dy * along[1] + dz * along[2]) / max(float(along @ along), 1e-6), 0.0, 1.0)
        distance = np.sqrt((dx - t * along[0]) ** 2 + (dy - t * along[1]) ** 2 + (dz - t * along[2]) ** 2)
        coverage = np.clip((first + t * (last - first) - distance) / min(self.grid.spacing_mm) + 0.5, 0.0, 1.0)
        self.paint(coverage if only is None else coverage * only[box], value, box)

    def paint_ellipsoid(self, centre: np.ndarray, axes: np.ndarray, *, value: float) -> None:
        """Paint an axis-aligned ellipsoid with half-axes `axes` (x, y, z) in mm."""
        centre, axes = np.asarray(centre, np.float32), np.asarray(axes, np.float32)
        box = self.box(centre - axes, centre + axes)
        squared = ((self.x[..., box[2]] - centre[0]) / axes[0]) ** 2
        squared = squared + ((self.y[:, box[1]] - centre[1]) / axes[1]) ** 2
        self.paint(squared + ((self.z[box[0]] - centre[2]) / axes[2]) ** 2 < 1.0, value, box)


def texture(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], *, scale_mm: float, rng: np.random.Generator
) -> np.ndarray:
    """Return smooth random values (z, y, x) of about zero mean and unit deviation that change over `scale_mm`."""
    size = [max(3, int(np.ceil(n * step / scale_mm)) + 1) for n, step in zip(shape, spacing_mm[::-1], strict=True)]
    coarse = rng.standard_normal(size, dtype=np.float32)
    fine = _stretch(coarse, shape)
    return fine / max(float(fine.std()), 1e-6)


def _stretch(coarse: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return values interpolated linearly to `shape`, whose first and last voxels are those of `coarse`.

    Axis by axis this is a product with a matrix of weights.
    """
    fine = coarse
    for axis, n in enumerate(shape):
        where = np.linspace(0.0, coarse.shape[axis] - 1.0, n)
        weights = np.maximum(0.0, 1.0 - np.abs(where[:, None] - np.arange(coarse.shape[axis]))).astype(np.float32)
        fine = np.moveaxis(np.tensordot(weights, fine, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(fine)
