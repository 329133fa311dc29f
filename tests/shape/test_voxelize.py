import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import Delaunay

from fedsim_tf.errors import InputError
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.surfaces import signed_volume_mm3
from fedsim_tf.shape.voxelize import Surfaces, inner_products, label_map, occupancy
from tests.shape.shapes_for_tests import box, sphere, two_balls

GRID = Grid.centred((20, 24, 28), (84.0, 60.0, 70.0))
VOXEL_MM3 = float(np.prod(GRID.spacing_mm))


def test_box_has_exact_partial_volumes_along_x():
    grid = Grid.centred((4, 4, 4), (4.0, 4.0, 4.0))
    points, faces = box((-1.25, -1.0, -1.0), (0.5, 1.0, 1.0))
    expected = np.zeros((4, 4, 4))
    expected[1:3, 1:3] = np.array([0.25, 1.0, 0.5, 0.0])
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


def test_rows_through_vertices_and_edges_are_counted_once():
    """A mesh whose vertices and edges lie exactly on the rows still has its exact volume."""
    grid = Grid((8, 8, 8), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    points, faces = box((0.5, 1.0, 1.0), (6.5, 5.0, 5.0))
    volume = np.array(occupancy(points, faces, grid, rows_per_voxel=1))
    assert volume.sum() == pytest.approx(4 * 4 * 6)
    assert set(np.unique(volume.sum(axis=2))) == {0.0, 6.0}


@pytest.mark.parametrize("seed", range(4))
def test_degenerate_meshes_are_those_moved_by_nearly_nothing(seed):
    """Vertices on rows, flat and folded triangles: the result is that of a mesh moved off the rows, and none leaks."""
    rng = np.random.default_rng(seed)
    grid = Grid((24, 24, 24), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    points, faces = sphere(8.0, centre=(11.0, 12.0, 12.0), subdivisions=3)
    points = np.round(points + rng.normal(0, 0.3, points.shape)).astype(np.float32)
    found = occupancy(points, faces, grid, rows_per_voxel=1)
    moved = occupancy(points - np.array([0, 2**-12, 2**-14], np.float32), faces, grid, rows_per_voxel=1)
    np.testing.assert_allclose(found, moved, atol=2e-3)
    assert not np.any(found[..., -2:])


@pytest.mark.parametrize("offset", [(0.0, 0.0, 40.0), (60.0, 0.0, 0.0), (0.0, -35.0, -40.0)])
def test_parts_outside_the_grid_are_cut_off(offset):
    points, faces = sphere(centre=offset)
    whole = Grid.centred((80, 72, 80), (240.0, 180.0, 280.0))  # the same voxels, more of them
    inside = np.array(occupancy(points, faces, whole))[30:50, 24:48, 26:54]
    np.testing.assert_allclose(occupancy(points, faces, GRID), inside, atol=1e-4)  # float32 coordinates


def test_inner_products_equal_products_with_the_volume(rng):
    points, faces, _ = two_balls()
    meshes = np.stack([points, points * 1.1 + 3.0, points - 30.0]).astype(np.float32)
    volumes = rng.standard_normal((2, *GRID.shape)).astype(np.float32)
    planes = np.swapaxes(GRID.voxel_coordinates(meshes), 1, 2)
    found = inner_products(volumes, np.stack([planes, planes[::-1]]), Surfaces.as_one(faces), rows_per_voxel=2)
    each = np.array([occupancy(mesh, faces, GRID) for mesh in meshes], np.float64)
    expected = [[np.vdot(volumes[0], e) for e in each], [np.vdot(volumes[1], e) for e in each[::-1]]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_what_surfaces_overlap_counts_once():
    left, faces = sphere(14.0, centre=(-5, 0, 0))
    right, _ = sphere(14.0, centre=(6, 2, 0))
    both = np.array(occupancy(np.concatenate([left, right]), np.concatenate([faces, faces + len(left)]), GRID))
    each = [np.array(occupancy(points, faces, GRID)) for points in (left, right)]
    assert both.max() <= 1 + 1e-6
    assert np.all(both >= np.maximum(*each) - 1e-5)
    assert np.all(both <= np.minimum(each[0] + each[1], 1) + 1e-5)
    d, r = np.sqrt(11**2 + 2**2), 14.0
    lens = np.pi * (4 * r + d) * (2 * r - d) ** 2 / 12
    assert both.sum() * VOXEL_MM3 == pytest.approx(2 * 4 / 3 * np.pi * r**3 - lens, rel=0.01)


def test_gradient_in_the_points_is_that_of_the_volume(rng):
    """Of a surface's own volume the gradient is known: a third of the areas around each vertex, along the normals."""
    points, faces = sphere(subdivisions=2)
    points = points * rng.uniform(0.8, 1.2, (1, 3)).astype(np.float32)
    with tf.GradientTape() as tape:
        variable = tf.constant(points)
        tape.watch(variable)
        volume = tf.reduce_sum(occupancy(variable, faces, GRID, rows_per_voxel=8)) * VOXEL_MM3
    found = tape.gradient(volume, variable).numpy()
    a, b, c = (points[faces[:, k]] for k in range(3))
    areas = np.cross(b - a, c - a) / 2
    expected = np.zeros_like(points)
    for k in range(3):
        np.add.at(expected, faces[:, k], areas / 3)
    assert np.linalg.norm(found - expected) < 0.02 * np.linalg.norm(expected)


def test_points_that_are_not_finite_show():
    points, faces = sphere(subdivisions=1)
    broken = points.copy()
    broken[3, 1] = np.inf
    volumes = np.array(occupancy(np.stack([points, broken]), faces, GRID))
    assert np.all(np.isfinite(volumes[0]))
    assert np.all(np.isnan(volumes[1]))


@pytest.mark.parametrize(
    ("points", "faces", "message"),
    [
        (np.zeros((4, 2)), [[0, 1, 2]], r"points_mm: found shape \(4, 2\)"),
        (np.zeros((4, 3)), [[0, 1, 4]], r"faces: found vertices 0..4; expected 0..3"),
        (np.zeros((4, 3)), [0, 1, 2], r"faces: found shape \(3,\)"),
    ],
)
def test_wrong_input_is_refused(points, faces, message):
    with pytest.raises(InputError, match=message):
        occupancy(points, np.array(faces, np.int32), GRID)


def test_unknown_regions_are_refused():
    points, faces = sphere(subdivisions=1)
    with pytest.raises(InputError, match="regions"):
        label_map(points, faces, np.full(len(points), 9), GRID)


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


def test_real_hearts_have_their_own_volumes(real_data):
    """Summed, and region by region above 20 ml, within 1 %; the smaller ones within 2 %."""
    from fedsim_tf.shape.surfaces import CorrespondingShapes

    shapes = CorrespondingShapes.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz"))
    grid = Grid.centred((128, 128, 128), (200.0, 200.0, 200.0))
    face_region = shapes.region_id[shapes.faces[:, 0]]
    for heart in shapes.points:
        points = heart - heart.mean(0)
        found, own = [], []
        for region in range(1, 8):
            faces = shapes.faces[face_region == region]
            own.append(signed_volume_mm3(points, faces))
            found.append(float(tf.reduce_sum(occupancy(points, faces, grid))) * float(np.prod(grid.spacing_mm)))
        errors = np.abs(np.array(found) / own - 1)
        assert sum(found) == pytest.approx(sum(own), rel=0.002)
        assert np.all(errors < np.where(np.array(own) > 20e3, 0.01, 0.02)), errors
