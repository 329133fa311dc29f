"""A scan by the Reconstruction Toolkit (itk-rtk 2.7), with which times are compared."""

from __future__ import annotations

import itk
import numpy as np
from itk import RTK as rtk

_KIND = itk.Image[itk.F, 3]


class RtkScan:
    """A circular scan of a cubic volume of 256 mm; RTK turns about its y axis, which our z axis stands for.

    Attributes:
      matrices: the projection matrices (views, 3, 4) of the same scan, as pyronn takes them.
    """

    source_mm, detector_mm = 800.0, 1200.0

    def __init__(self, size: int, views: int, detector: int, *, threads: int):
        itk.MultiThreaderBase.SetGlobalDefaultNumberOfThreads(threads)
        self.size, self.views, self.detector = size, views, detector
        self.voxel_mm, self.pixel_mm = 256.0 / size, 512.0 / detector
        self.geometry = rtk.ThreeDCircularProjectionGeometry.New()
        for view in range(views):
            self.geometry.AddProjection(self.source_mm, self.detector_mm, 360.0 * view / views)
        to_pixels = np.array([[1 / self.pixel_mm, 0, detector / 2], [0, 1 / self.pixel_mm, detector / 2], [0, 0, 1]])
        given = np.array([itk.array_from_matrix(self.geometry.GetMatrix(view)) for view in range(views)])
        self.matrices = (to_pixels @ given)[:, :, [0, 2, 1, 3]]

    def project(self, volume: np.ndarray) -> np.ndarray:
        """Return Joseph's forward projection of a volume (z, y, x)."""
        return self._run("JosephForwardProjectionImageFilter", self._sinogram(None), self._volume(volume))

    def transpose(self, sinogram: np.ndarray) -> np.ndarray:
        """Return Joseph's back-projection of a sinogram (views, rows, columns)."""
        found = self._run("JosephBackProjectionImageFilter", self._volume(None), self._sinogram(sinogram))
        return found.transpose(1, 0, 2)

    def reconstruct(self, sinogram: np.ndarray) -> np.ndarray:
        """Return Feldkamp's reconstruction of a sinogram (views, rows, columns)."""
        step = rtk.FDKConeBeamReconstructionFilter[_KIND].New()
        step.SetInput(0, self._volume(None))
        step.SetInput(1, self._sinogram(sinogram))
        step.SetGeometry(self.geometry)
        step.Update()
        return itk.array_from_image(step.GetOutput()).transpose(1, 0, 2)

    def _run(self, name: str, first, second) -> np.ndarray:
        step = getattr(rtk, name)[_KIND, _KIND].New()
        step.SetInput(0, first)
        step.SetInput(1, second)
        step.SetGeometry(self.geometry)
        step.Update()
        return itk.array_from_image(step.GetOutput())

    def _volume(self, array: np.ndarray | None):
        array = np.zeros([self.size] * 3) if array is None else array.transpose(1, 0, 2)
        return _image(array, [self.voxel_mm] * 3, [-(self.size - 1) / 2 * self.voxel_mm] * 3)

    def _sinogram(self, array: np.ndarray | None):
        array = np.zeros((self.views, self.detector, self.detector)) if array is None else array
        corner = -(self.detector - 1) / 2 * self.pixel_mm
        return _image(array, [self.pixel_mm, self.pixel_mm, 1.0], [corner, corner, 0.0])


def _image(array: np.ndarray, spacing: list[float], origin: list[float]):
    image = itk.image_from_array(np.ascontiguousarray(array, np.float32))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    return image
