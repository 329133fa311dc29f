"""Against the Reconstruction Toolkit (itk-rtk 2.7): live where it is installed, else against what it gave."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf
from geometries import arguments

import pyronn_layers

try:
    import itk
    from itk import RTK as rtk
except ImportError:
    itk = rtk = None

# (itk-rtk's projection of the body below on every fifth pixel, and the matrices it used)
RECORDED = pathlib.Path(__file__).parent / "itk_rtk_joseph.npz"
EVERY = 5
SHAPE, SPACING = (40, 44, 48), 4.0  # (z, y, x), mm
ROWS, COLUMNS, PIXEL, VIEWS = 70, 80, 5.0, 12
SOURCE_MM, DETECTOR_MM = 700.0, 1000.0


class Scan:
    """The same circle for both: RTK turns about its y axis, which is taken for z here."""

    def __init__(self, projection_matrices=None):
        self.volume_spacing = np.full(3, SPACING)
        self.volume_origin = -(np.array(SHAPE) - 1) / 2 * SPACING
        self.projection_multiplier = 1.0
        self.projection_matrices = self._of_rtk() if projection_matrices is None else projection_matrices

    def _of_rtk(self):
        self.rtk = rtk.ThreeDCircularProjectionGeometry.New()
        for view in range(VIEWS):
            self.rtk.AddProjection(SOURCE_MM, DETECTOR_MM, 360.0 * view / VIEWS)
        to_pixels = np.array([[1 / PIXEL, 0, COLUMNS / 2], [0, 1 / PIXEL, ROWS / 2], [0, 0, 1]])
        given = np.array([itk.array_from_matrix(self.rtk.GetMatrix(view)) for view in range(VIEWS)])
        return (to_pixels @ given)[:, :, [0, 2, 1, 3]]

    def image(self, array, spacing):
        image = itk.image_from_array(np.ascontiguousarray(array, np.float32))
        image.SetSpacing(spacing)
        image.SetOrigin([-(n - 1) / 2 * s if s > 1 else 0.0 for n, s in zip(array.shape[::-1], spacing, strict=True)])
        return image

    def run(self, name, first, second):
        kind = itk.Image[itk.F, 3]
        step = getattr(rtk, name)[kind, kind].New()
        step.SetInput(0, first)
        step.SetInput(1, second)
        step.SetGeometry(self.rtk)
        step.Update()
        return itk.array_from_image(step.GetOutput())


def smooth_body():
    """A smooth ellipsoid that ends within the volume."""
    z, y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * SPACING for n in SHAPE], indexing="ij")
    radius = np.sqrt((x / 80) ** 2 + (y / 65) ** 2 + (z / 60) ** 2)
    return (np.clip((1.1 - radius) / 0.4, 0, 1) * (1 + 0.2 * np.sin(x / 15) * np.cos(z / 12))).astype(np.float32)


def project_with_rtk(scan, body):
    empty = scan.image(np.zeros((VIEWS, ROWS, COLUMNS)), [PIXEL, PIXEL, 1.0])
    return scan.run("JosephForwardProjectionImageFilter", empty, scan.image(body.transpose(1, 0, 2), [SPACING] * 3))


def project(scan, body):
    return pyronn_layers.cone_projection3d(body[None], (VIEWS, ROWS, COLUMNS), **arguments(scan))[0].numpy()


def rms(array):
    return np.sqrt(np.mean(np.square(array)))


def test_projection_agrees_with_what_rtk_gave():
    with np.load(RECORDED) as recorded:
        ours = project(Scan(recorded["projection_matrices"]), smooth_body())[:, ::EVERY, ::EVERY]
        assert rms(ours - recorded["projection"]) < 0.005 * rms(recorded["projection"])


@pytest.mark.skipif(rtk is None, reason="itk-rtk is not installed")
def test_projection_agrees_with_josephs():
    scan = Scan()
    theirs = project_with_rtk(scan, smooth_body())
    assert rms(project(scan, smooth_body()) - theirs) < 0.005 * rms(theirs)


@pytest.mark.skipif(rtk is None, reason="itk-rtk is not installed")
def test_transpose_agrees_with_josephs(rng):
    scan = Scan()
    sinogram = rng.random((VIEWS, ROWS, COLUMNS)).astype(np.float32)
    empty = scan.image(np.zeros((SHAPE[1], SHAPE[0], SHAPE[2])), [SPACING] * 3)
    theirs = scan.run("JosephBackProjectionImageFilter", empty, scan.image(sinogram, [PIXEL, PIXEL, 1.0]))
    ours = pyronn_layers.cone_projection3d_adjoint(tf.constant(sinogram[None]), SHAPE, **arguments(scan))[0].numpy()
    inner = (slice(2, -2),) * 3  # borders are treated differently
    ours, theirs = ours[inner], theirs.transpose(1, 0, 2)[inner]
    assert rms(ours - theirs) < 0.01 * rms(theirs)
