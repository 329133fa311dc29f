import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import Delaunay

from fedsim_tf.shape import Grid, label_map, occupancy
from fedsim_tf.shape.surfaces import signed_volume_mm3
from fedsim_tf.shape.voxelize import inner_product, running_sums
from tests.shape.shapes_for_tests import box, sphere, two_balls

GRID = Grid.centred((20, 24, 28), (84.0, 60.0, 70.0))
VOXEL_MM3 = float(np.prod(GRID.spacing_mm))


def test_box_has_exact_partial_volumes_along_z():
    grid = Grid.centred((4, 4, 4), (4.0, 4.0, 4.0))
    points, faces = box((-1.0, -1.0, -1.25), (1.0, 1.0, 0.5))
    expected = np.zeros((4, 4, 4))
    expected[:, 1:3, 1:3] = np.array([0.25, 1.0, 0.5, 0.0])[:, None, None]
    np.testing.assert_allclose(occupancy(points, faces, grid), expected, atol=1e-6)


def test_sphere_volume_is_that_of_its_triangles():
    points, faces = sphere()
    volume = float(tf.reduce_sum(occupancy(points, faces, GRID))) * VOXEL_MM3
    assert volume == pytest.approx(signed_volume_mm3(points, faces), rel=5e-3)
    assert volume == pytest.approx(4 / 3 * np.pi * 20**3, rel=1e-2)


def test_centres_agree_with_point_in_hull_test(rng):
    points, faces = sphere(subdivisions=2)
    points = points * rng.uniform(0.7, 1.3, (1, 3)).astype(np.float32)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in GRID.shape], indexing="ij"), -1).reshape(-1, 3)
    centres = index[:, ::-1] * np.array(GRID.spacing_mm) + np.array(GRID.origin_mm)
    inside = (Delaunay(points).find_simplex(centres) >= 0).reshape(GRID.shape)  # a stretched ball is convex
    values = np.array(occupancy(points, faces, GRID))
    assert np.all(inside[values > 0.999])
    assert not np.any(inside[values < 0.001])
    assert np.mean((values > 0.5) == inside) > 0.99


def test_columns_through_vertices_and_edges_are_counted_once():
    """A mesh whose vertices and edges lie exactly on the columns still has its exact volume."""
    grid = Grid((8, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    points, faces = box((1.0, 1.0, 0.5), (5.0, 5.0, 6.5))
    volume = np.array(occupancy(points, faces, grid, columns_per_voxel=1))
    assert volume.sum() == pytest.approx(4 * 4 * 6)
    assert set(np.unique(volume.sum(axis=0))) == {0.0, 6.0}


@pytest.mark.parametrize("offset", [(0.0, 0.0, 40.0), (60.0, 0.0, 0.0), (0.0, -35.0, -40.0)])
def test_parts_outside_the_grid_are_cut_off(offset):
    points, faces = sphere(centre=offset)
    whole = Grid.centred((80, 72, 80), (240.0, 180.0, 280.0))  # the same voxels, more of them
    inside = np.array(occupancy(points, faces, whole))[30:50, 24:48, 26:54]
    np.testing.assert_allclose(occupancy(points, faces, GRID), inside, atol=1e-5)


def test_inner_product_equals_product_with_the_volume(rng):
    points, faces, _ = two_balls()
    meshes = np.stack([points, points * 1.1 + 3.0, points - 30.0]).astype(np.float32)
    volumes = rng.standard_normal((3, *GRID.shape)).astype(np.float32)
    found = inner_product(running_sums(tf.constant(volumes)), tf.constant(meshes), faces, GRID)
    expected = [np.vdot(v, occupancy(m, faces, GRID)) for v, m in zip(volumes, meshes, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_label_map_paints_in_order():
    lower, upper = (-10.0, -10.0, -10.0), (10.0, 10.0, 10.0)
    outer, faces = box(lower, upper)
    inner, _ = box((-5.0, -5.0, -5.0), (5.0, 5.0, 5.0))
    points = np.concatenate([inner, outer])
    all_faces = np.concatenate([faces, faces + len(inner)])
    region_id = np.repeat([1, 5], len(inner)).astype(np.uint8)  # LV blood pool within a solid myocardium
    labels = np.array(label_map(points, all_faces, region_id, Grid.centred((24, 24, 24), (24.0, 24.0, 24.0))))
    assert np.sum(labels == 1) == 10**3
    assert np.sum(labels == 5) == 20**3 - 10**3


def test_real_heart_regions_have_their_own_volumes(real_data):
    from fedsim_tf.shape import CorrespondingShapes

    shapes = CorrespondingShapes.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz"))
    points = shapes.points[0] - shapes.points[0].mean(0)
    grid = Grid.centred((64, 64, 64), (200.0, 200.0, 200.0))
    face_region = shapes.region_id[shapes.faces[:, 0]]
    for region in range(1, 8):
        faces = shapes.faces[face_region == region]
        volume = float(tf.reduce_sum(occupancy(points, faces, grid))) * float(np.prod(grid.spacing_mm))
        assert volume == pytest.approx(signed_volume_mm3(points, faces), rel=0.01), region
