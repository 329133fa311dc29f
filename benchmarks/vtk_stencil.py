"""The peer of the voxelization benchmark: VTK's PolyDataToImageStencil."""

from __future__ import annotations

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

from fedsim_tf.shape.grid import Grid


class StencilVoxelizer:
    """A voxelizer of closed surfaces with VTK: a voxel belongs to the mask if its centre is inside.

    Args:
      faces: (F, 3).
      region_of_face: (F,).
      grid: the voxels.
      together: whether all surfaces share a stencil, in which their overlap cancels, instead of one for each region.
    """

    def __init__(self, faces: np.ndarray, region_of_face: np.ndarray, grid: Grid, *, together: bool):
        self._grid = grid
        self.regions = [] if together else [int(region) for region in np.unique(region_of_face)]
        parts = [faces] if together else [faces[region_of_face == region] for region in self.regions]
        self._parts = [_Part(part, grid) for part in parts]

    def mask(self, points: np.ndarray) -> np.ndarray:
        """Return the union (z, y, x) uint8 of the regions of points (V, 3)."""
        united, *others = self.masks(points)
        for mask in others:
            np.maximum(united, mask, out=united)
        return united

    def masks(self, points: np.ndarray) -> list[np.ndarray]:
        """Return the mask (z, y, x) uint8 of each of `regions` of points (V, 3), where they overlap too."""
        return [part.mask(points) for part in self._parts]


class _Part:
    def __init__(self, faces: np.ndarray, grid: Grid):
        self._used, renumbered = np.unique(faces, return_inverse=True)
        cells = np.concatenate([np.full((len(faces), 1), 3), renumbered.reshape(faces.shape)], axis=1)
        self._cells = numpy_to_vtkIdTypeArray(cells.ravel().astype(np.int64), deep=True)
        polygons = vtk.vtkCellArray()
        polygons.SetCells(len(faces), self._cells)
        self._surface = vtk.vtkPolyData()
        self._surface.SetPolys(polygons)
        self._stencil = vtk.vtkPolyDataToImageStencil()
        self._stencil.SetInputData(self._surface)
        extent = [edge for count in grid.shape[::-1] for edge in (0, count - 1)]
        self._stencil.SetOutputOrigin(grid.origin_mm)
        self._stencil.SetOutputSpacing(grid.spacing_mm)
        self._stencil.SetOutputWholeExtent(extent)
        self._image = vtk.vtkImageStencilToImage()
        self._image.SetInputConnection(self._stencil.GetOutputPort())
        self._image.SetInsideValue(1)
        self._image.SetOutsideValue(0)
        self._image.SetOutputScalarTypeToUnsignedChar()
        self._shape = grid.shape

    def mask(self, points: np.ndarray) -> np.ndarray:
        corners = vtk.vtkPoints()
        corners.SetData(numpy_to_vtk(np.ascontiguousarray(points[self._used], np.float32), deep=True))
        self._surface.SetPoints(corners)
        self._image.Update()
        return vtk_to_numpy(self._image.GetOutput().GetPointData().GetScalars()).reshape(self._shape)
