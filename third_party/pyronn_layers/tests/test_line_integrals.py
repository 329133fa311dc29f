import numpy as np
import pytest
import tensorflow as tf
from geometries import apply, cone, tilted
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

pytestmark = pytest.mark.filterwarnings("ignore:the detector does not see the whole volume")


def rays(made, view):
    """Source and unit directions (rows, columns, 3), (x, y, z) in mm; pixel i is centred at i + 0.5."""
    matrix = made.projection_matrices[view].astype(np.float64)
    rows, columns = made.detector_shape
    v, u = np.meshgrid(np.arange(rows) + 0.5, np.arange(columns) + 0.5, indexing="ij")
    directions = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(matrix[:, :3]).T
    source = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    return source, directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def box_chords(made, view):
    """Length in mm of each ray within the volume's box, by slabs."""
    source, direction = rays(made, view)
    low = (made.volume_origin - made.volume_spacing / 2)[::-1].astype(float)
    high = low + (made.volume_shape * made.volume_spacing)[::-1]
    with np.errstate(divide="ignore"):
        a, b = (low - source) / direction, (high - source) / direction
    return np.maximum(np.maximum(a, b).min(-1) - np.minimum(a, b).max(-1), 0.0)


def ellipsoid_chords(made, view, semi_axes_mm):
    """Length in mm of each ray within an ellipsoid about the origin; semi-axes (x, y, z)."""
    source, direction = rays(made, view)
    s, d = source / semi_axes_mm, direction / semi_axes_mm
    a, b, c = (d * d).sum(-1), (d * s).sum(-1), (s * s).sum() - 1
    return 2 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a


def ellipsoid(made, semi_axes_mm, fine=4):
    """Share of each voxel within the ellipsoid."""
    sizes = zip(made.volume_shape, made.volume_spacing, made.volume_origin, strict=True)
    axes = [o + (np.arange(n * fine) - (fine - 1) / 2) * s / fine for n, s, o in sizes]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    a, b, c = semi_axes_mm
    inside = ((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1).astype(np.float32)
    nz, ny, nx = made.volume_shape
    return inside.reshape(nz, fine, ny, fine, nx, fine).mean((1, 3, 5))


BOXES = {
    "cube": lambda: cone((12, 12, 12), (4.0, 4.0, 4.0), (40, 41), (3.0, 3.0), 9),
    "off centre": lambda: cone((9, 14, 5), (5.0, 3.0, 7.0), (40, 41), (3.0, 4.0), 9, origin=(-10.0, -30.0, 5.0)),
    "tilted": lambda: tilted(cone((12, 12, 12), (4.0, 4.0, 4.0), (40, 41), (3.0, 3.0), 5), 35.0),
    "one voxel": lambda: cone((1, 1, 1), (40.0, 50.0, 60.0), (40, 41), (3.0, 3.0), 5),
}


@pytest.mark.parametrize("path", ["auto", "any"])
@pytest.mark.parametrize("name", BOXES)
def test_uniform_box_gives_every_ray_its_exact_chord(name, path):
    made = BOXES[name]()
    found = apply("projection", np.ones((1, *made.volume_shape)), made, path=path)[0].numpy()
    for view in range(len(found)):
        expected = box_chords(made, view)
        assert (expected > 0).any()
        np.testing.assert_allclose(found[view], expected, atol=2e-3)  # mm


@pytest.mark.parametrize("make", [lambda made: made, tilted], ids=["separable", "tilted"])
def test_ellipsoid_line_integrals(make):
    semi_axes = np.array([60.0, 40.0, 50.0])
    made = make(cone((70, 64, 66), (2.0, 2.0, 2.0), (60, 58), (4.0, 4.0), 4, distances=(1000.0, 700.0)))
    found = cone_projection3d(tf.constant(ellipsoid(made, semi_axes)[None]), made)[0].numpy()
    for view in range(4):
        expected = ellipsoid_chords(made, view, semi_axes)
        error = found[view] - expected
        assert np.sqrt(np.mean(error**2)) < 0.008 * expected.max()  # the rim is a voxel wide
        core = expected > 0.5 * expected.max()
        assert abs(error[core].mean()) < 1.5e-3 * expected.max()
