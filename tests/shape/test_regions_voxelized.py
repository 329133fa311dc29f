"""Occupancy by region: painted in order, without overlap, and together the heart."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.spatial import ConvexHull

from fedsim_tf.errors import InputError
from fedsim_tf.regions import LA, LV, MYOCARDIUM, PAINTING_ORDER, RA, RV
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.surfaces import signed_volume_mm3
from fedsim_tf.shape.voxelize import (
    Surfaces,
    fill_occupancy,
    inner_products,
    occupancy,
    separate_regions,
    surface_gradient,
    to_label_map,
)
from tests.shape.shapes_for_tests import box, seven_balls, sphere

GRID = Grid.centred((20, 24, 28), (70.0, 60.0, 70.0))
VOXEL_MM3 = float(np.prod(GRID.spacing_mm))
UNIT_GRID = Grid.centred((4, 4, 4), (4.0, 4.0, 4.0))


def joined(*surfaces):
    """Points, faces and regions of (region, points, faces)."""
    starts = np.cumsum([0] + [len(points) for _, points, _ in surfaces])
    return (
        np.concatenate([points for _, points, _ in surfaces]),
        np.concatenate([faces + start for (_, _, faces), start in zip(surfaces, starts, strict=False)]),
        np.concatenate([np.full(len(points), region, np.uint8) for region, points, _ in surfaces]),
    )


def by_region(points, faces, region_id, grid=GRID, **options):
    return np.array(occupancy(points, faces, grid, region_id=region_id, **options))


def test_regions_that_meet_within_a_voxel_fill_it_together():
    left, right = box((-1.5, -1, -1), (0.25, 1, 1)), box((0.25, -1, -1), (1.5, 1, 1))
    found = by_region(*joined((RA, *left), (RV, *right)), grid=UNIT_GRID)
    np.testing.assert_allclose(found[1, 1, :, RA - 1], [0.5, 1, 0.25, 0], atol=1e-6)
    np.testing.assert_allclose(found[1, 1, :, RV - 1], [0, 0, 0.75, 0.5], atol=1e-6)
    assert not found[0].any()
    assert not np.delete(found, [RA - 1, RV - 1], axis=-1).any()


@pytest.mark.parametrize("order", [(LV, MYOCARDIUM), (MYOCARDIUM, LV)])
def test_later_regions_cover_earlier_ones(order):
    """Whatever the order of the surfaces in the mesh, the blood is painted over the solid myocardium."""
    shapes = {MYOCARDIUM: box((-1.5, -1, -1), (1.5, 1, 1)), LV: box((-0.75, -1, -1), (0.5, 1, 1))}
    found = by_region(*joined(*((region, *shapes[region]) for region in order)), grid=UNIT_GRID)
    np.testing.assert_allclose(found[1, 1, :, LV - 1], [0, 0.75, 0.5, 0], atol=1e-6)
    np.testing.assert_allclose(found[1, 1, :, MYOCARDIUM - 1], [0.5, 0.25, 0.5, 0.5], atol=1e-6)


def test_two_surfaces_of_one_region_count_once():
    found = by_region(
        *joined((LA, *box((-1.5, -1, -1), (0.5, 1, 1))), (LA, *box((-0.5, -1, -1), (1.25, 1, 1)))), grid=UNIT_GRID
    )
    np.testing.assert_allclose(found[1, 1, :, LA - 1], [0.5, 1, 1, 0.25], atol=1e-6)


@pytest.mark.parametrize("rows_per_voxel", [1, 2])
def test_regions_do_not_overlap_and_add_up_to_the_union(rows_per_voxel):
    points, faces, region_id = seven_balls()
    found = by_region(points, faces, region_id, rows_per_voxel=rows_per_voxel)
    union = occupancy(points, faces, GRID, rows_per_voxel=rows_per_voxel)
    np.testing.assert_allclose(found.sum(axis=-1), union, atol=1e-6)
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    assert all(found[..., channel].max() > 0.9 for channel in range(7))


def test_fractions_are_those_of_points_painted_one_by_one():
    """Each point of the rows, 16 a voxel, gets the last region of PAINTING_ORDER whose convex hull it is inside."""
    points, faces, region_id = seven_balls(subdivisions=1)
    grid = Grid.centred((10, 11, 12), (60.0, 66.0, 66.0))
    rows, samples = 2, 16
    nz, ny, nx = grid.shape
    z, y, x = (
        ((np.arange(count * parts) + 0.5) / parts - 0.5) * grid.spacing_mm[axis] + grid.origin_mm[axis]
        for count, parts, axis in ((nz, rows, 2), (ny, rows, 1), (nx, samples, 0))
    )
    found = by_region(points, faces, region_id, grid=grid, rows_per_voxel=rows)
    labels = np.zeros((len(z), len(y), len(x)), int)
    for region in PAINTING_ORDER:
        inside = np.ones(labels.shape, bool)
        for a, b, c, d in ConvexHull(points[region_id == region].astype(np.float64)).equations:
            inside &= (a * x + d) + (b * y)[:, None] + (c * z)[:, None, None] <= 0
        labels[inside] = region
    for region in PAINTING_ORDER:
        parts = (labels == region).reshape(nz, rows, ny, rows, nx, samples).mean(axis=(1, 3, 5))
        assert np.abs(found[..., region - 1] - parts).max() < 1 / samples + 1e-3
        assert found[..., region - 1].sum() == pytest.approx(parts.sum(), rel=0.01)


def test_volumes_are_those_of_the_surfaces():
    outer, inner = sphere(20.0), sphere(12.0)
    found = by_region(*joined((MYOCARDIUM, *outer), (LV, *inner))).sum(axis=(0, 1, 2)) * VOXEL_MM3
    blood, solid = signed_volume_mm3(*inner), signed_volume_mm3(*outer)
    assert found[LV - 1] == pytest.approx(blood, rel=0.01)
    assert found[MYOCARDIUM - 1] == pytest.approx(solid - blood, rel=0.01)


def test_inner_products_equal_products_with_the_volume(rng):
    """On noise, with an empty slice, for meshes that reach beyond the grid."""
    points, faces, region_id = seven_balls()
    meshes = np.stack([points, points * 1.1 + 3.0, points - 30.0]).astype(np.float32)
    volumes = rng.standard_normal((2, *GRID.shape, 7)).astype(np.float32)
    volumes[:, 9] = 0
    planes = np.swapaxes(GRID.voxel_coordinates(meshes), 1, 2)
    surfaces = Surfaces.by_region(faces, region_id)
    found = inner_products(volumes, np.stack([planes, planes[::-1]]), surfaces, rows_per_voxel=2)
    each = by_region(meshes, faces, region_id).astype(np.float64)
    expected = [[np.vdot(volumes[0], e) for e in each], [np.vdot(volumes[1], e) for e in each[::-1]]]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_gradient_of_a_face_between_regions_is_that_of_their_difference():
    """The blood pool gains what the myocardium loses: per unit of its radius, its surface times the difference."""
    outer, inner = sphere(25.0), sphere(12.0)
    points, faces, region_id = joined((MYOCARDIUM, *outer), (LV, *inner))
    values = np.zeros((1, *GRID.shape, 7), np.float32)
    values[..., LV - 1], values[..., MYOCARDIUM - 1] = 3.0, 1.25
    planes = np.swapaxes(GRID.voxel_coordinates(points[None]), 1, 2)
    gradient = surface_gradient(values, planes, Surfaces.by_region(faces, region_id), rows_per_voxel=4)[0].numpy()
    per_mm = gradient.T / np.array(GRID.spacing_mm)
    for region, own, expected in ((LV, inner, 3.0 - 1.25), (MYOCARDIUM, outer, 1.25)):
        radial = np.sum(per_mm[region_id == region] * own[0]) * VOXEL_MM3  # d/d log radius
        assert radial == pytest.approx(3 * expected * signed_volume_mm3(*own), rel=0.02)


def test_gradient_in_the_points_agrees_with_differences_of_the_operator(rng):
    points, faces, region_id = seven_balls()
    waves = rng.standard_normal((7, 3))
    waves *= 2 * np.pi / 40 / np.linalg.norm(waves, axis=1, keepdims=True)  # of 40 mm, one for each region
    centres = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), axis=-1)[..., ::-1] * GRID.spacing_mm
    upstream = np.cos(centres @ waves.T)
    options = {"region_id": region_id, "rows_per_voxel": 8}
    with tf.GradientTape() as tape:
        variable = tf.constant(points)
        tape.watch(variable)
        value = tf.reduce_sum(occupancy(variable, faces, GRID, **options) * upstream.astype(np.float32))
    gradient = tape.gradient(value, variable).numpy().astype(np.float64)
    directions = [points * (region_id == region)[:, None] for region in PAINTING_ORDER]  # each about the origin
    directions += [np.broadcast_to(axis, points.shape) for axis in np.eye(3)]
    found, expected = [], []
    for direction in directions:
        step = 0.5 / np.sqrt(np.mean(np.sum(direction**2, axis=1)[np.any(direction, axis=1)]))
        ends = [by_region(points + s * direction, faces, region_id, rows_per_voxel=8) for s in (step, -step)]
        found.append(np.vdot(gradient, direction) * step)
        expected.append(np.vdot(upstream, ends[0].astype(np.float64) - ends[1]) / 2)
    assert np.linalg.norm(np.subtract(found, expected)) < 0.015 * np.linalg.norm(expected)


def test_label_maps_of_regions_cover_the_mask_of_the_heart():
    voxels = np.zeros((5, 7), np.float32)
    voxels[0, LV - 1], voxels[0, RV - 1] = 0.3, 0.25  # neither alone, but together more than half
    voxels[1, LA - 1], voxels[1, RA - 1] = 0.2, 0.3  # just half
    voxels[2, MYOCARDIUM - 1] = 1.0
    voxels[3] = 1 / 7  # the first of equals
    np.testing.assert_array_equal(to_label_map(tf.constant(voxels)), [LV, 0, MYOCARDIUM, LV, 0])
    points, faces, region_id = seven_balls()
    labels = to_label_map(occupancy(points, faces, GRID, region_id=region_id))
    assert labels.dtype == tf.uint8
    np.testing.assert_array_equal(labels > 0, occupancy(points, faces, GRID) > 0.5)


def test_points_that_are_not_finite_show():
    points, faces, region_id = seven_balls()
    broken = points.copy()
    broken[3, 1] = np.nan
    volumes = by_region(np.stack([points, broken]), faces, region_id)
    assert np.all(np.isfinite(volumes[0]))
    assert np.all(np.isnan(volumes[1]))


@pytest.mark.parametrize("as_regions", [False, True])
def test_volumes_are_not_overwritten_while_somebody_holds_them(as_regions):
    """The operator fills its last volumes anew once nobody holds them: results are always those of a new operator."""
    points, faces, region_id = seven_balls(subdivisions=1)
    surfaces = Surfaces.by_region(faces, region_id) if as_regions else Surfaces.as_one(faces)
    broken = np.full_like(points, np.nan)
    given = [points, points[:, ::-1] * 0.7, points + 15.0, broken, points * 0.3, points]
    planes = [tf.constant(GRID.voxel_coordinates(moved).T[None], tf.float32) for moved in given]
    make = lambda: tf.function(  # noqa: E731
        lambda moved: fill_occupancy(moved, surfaces, GRID, rows_per_voxel=2), autograph=False
    )
    expected = [make()(moved).numpy().copy() for moved in planes]
    voxelize = make()
    held = [np.asarray(voxelize(moved)) for moved in planes]  # views, which hold the tensors' memory
    np.testing.assert_array_equal(np.stack(held), np.stack(expected))
    del held
    np.testing.assert_array_equal(np.stack([voxelize(moved).numpy().copy() for moved in planes]), np.stack(expected))


def test_unknown_regions_are_refused():
    points, faces, _ = seven_balls(subdivisions=1)
    with pytest.raises(InputError, match="regions"):
        occupancy(points, faces, GRID, region_id=np.full(len(points), 8))


def test_a_label_map_is_taken_apart_and_put_together_again(rng):
    ids = rng.integers(0, 8, (3, 4, 5)).astype(np.uint8)
    found = separate_regions(tf.constant(ids))
    assert found.dtype == tf.float32
    np.testing.assert_array_equal(found, ids[..., None] == np.arange(1, 8))
    np.testing.assert_array_equal(to_label_map(found), ids)
