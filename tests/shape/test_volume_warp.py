import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.volume_warp import VolumeWarp
from tests.shape.shapes_for_tests import sphere

GRID = Grid.centred((32, 32, 32), (200.0, 160.0, 240.0))


def place_of_voxels(grid):
    """Voxel centres (z, y, x, 3) in mm, (x, y, z)."""
    axes = [
        np.arange(n) * mm + start
        for n, mm, start in zip(grid.shape[::-1], grid.spacing_mm, grid.origin_mm, strict=True)
    ]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.stack([x, y, z], axis=-1).transpose(2, 1, 0, 3)


def inside(radii_mm, centre_mm=(0.0, 0.0, 0.0)):
    return np.sum(((place_of_voxels(GRID) - centre_mm) / radii_mm) ** 2, axis=-1) < 1


def dice(a, b):
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def surface():
    points, _ = sphere(1.0)
    return points * np.array([30.0, 36.0, 42.0])


@pytest.mark.parametrize(
    ("scale", "shift_mm"), [(1.0, (12.0, -8.0, 15.0)), (1.2, (0.0, 0.0, 0.0)), ((0.8, 1.1, 1.2), (5.0, 5.0, -9.0))]
)
def test_a_heart_goes_where_its_surface_goes(surface, scale, shift_mm):
    source, radii = inside((30.0, 36.0, 42.0)), scale * np.array([30.0, 36.0, 42.0])
    deformation = VolumeWarp.between(surface, surface * scale + shift_mm, GRID)
    moved = deformation.warp(source.astype(np.float32)) > 0.5
    wanted = inside(radii, shift_mm)
    assert dice(moved, wanted) > 0.96 > dice(source, wanted)
    ids = deformation.warp(np.where(source, 7, 0).astype(np.uint8), nearest=True)
    assert set(np.unique(ids)) == {0, 7}
    assert dice(ids == 7, wanted) > 0.9


def test_the_border_stays_and_nothing_folds(surface):
    deformation = VolumeWarp.between(surface, 1.2 * surface + [8.0, 0.0, 0.0], GRID)
    from_mm = np.stack([deformation.warp(place_of_voxels(GRID)[..., axis]) for axis in range(3)], axis=-1)
    moved_mm = np.linalg.norm(from_mm - place_of_voxels(GRID), axis=-1)
    border = np.ones(GRID.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    assert moved_mm[border].max() < 3.0 < 8.0 < moved_mm.max()  # voxels are 5 to 7.5 mm wide
    # The map's Jacobian has a positive determinant everywhere.
    steps = np.stack([np.gradient(from_mm, axis=axis) for axis in (2, 1, 0)], axis=-1)
    assert np.linalg.det(steps).min() > 0


def test_a_surface_that_stays_moves_nothing(surface, rng):
    volume = rng.standard_normal((16, 16, 16))
    np.testing.assert_allclose(VolumeWarp.between(surface, surface, GRID).warp(volume), volume, atol=1e-9)


def test_volumes_of_other_sizes_are_deformed_alike(surface):
    """The same deformation of the same ramp, on two grids, agrees where the grids' cells do."""
    deformation = VolumeWarp.between(surface, surface + np.array([10.0, 0.0, 0.0]), GRID)
    ramp = lambda n: np.broadcast_to((np.arange(n) + 0.5) / n, (n, n, n))  # noqa: E731
    fine, coarse = deformation.warp(ramp(32)), deformation.warp(ramp(16))
    halved = fine.reshape(16, 2, 16, 2, 16, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(halved[1:-1, 1:-1, 1:-1], coarse[1:-1, 1:-1, 1:-1], atol=0.004)


def test_points_that_do_not_correspond_are_refused(surface):
    with pytest.raises(InputError, match="corresponding points"):
        VolumeWarp.between(surface, surface[1:], GRID)
