"""Similarity transforms, coherent displacements and refinement, each against what is known exactly."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fedsim_tf.shape.label_surfaces import vertex_normals
from fedsim_tf.shape.registration import alignment, deformation, mixture
from fedsim_tf.shape.registration.alignment import Similarity
from fedsim_tf.shape.registration.refinement import RegionPoints, Triangulation, project
from tests.shape.shapes_for_tests import sphere

TRUE = Similarity(1.2, Rotation.from_rotvec([0.2, -0.1, 0.3]).as_matrix(), np.array([4.0, -7.0, 2.0]))


def cloud(rng, n=200):
    return rng.normal(size=(n, 3)) * [12, 7, 4], mixture.normalize(rng.normal(size=(n, 3)))


def test_a_similarity_is_found_from_points(rng):
    x, _ = cloud(rng)
    found = alignment.fit_points(x, TRUE.move_points(x), rng.uniform(0.1, 1, len(x)))
    np.testing.assert_allclose(found.move_points(x), TRUE.move_points(x), atol=1e-9)
    np.testing.assert_allclose(found.undo(found.move_points(x)), x, atol=1e-9)


def test_transforms_chain(rng):
    x, n = cloud(rng)
    twice = TRUE.compose(TRUE)
    np.testing.assert_allclose(twice.move_points(x), TRUE.move_points(TRUE.move_points(x)))
    np.testing.assert_allclose(twice.turn_normals(n), TRUE.turn_normals(TRUE.turn_normals(n)))


def certain(x, n):
    """The statistics of points that each belong to their own component, with robust weight one."""
    ones = np.ones(len(x))
    return mixture.Statistics(ones, ones, x, n, -ones, float(np.sum(x**2)))


def test_a_similarity_is_found_from_statistics(rng):
    x, n = cloud(rng)
    found = alignment.fit_statistics(certain(x, n), TRUE.move_points(x), TRUE.turn_normals(n), sigma=2.0, kappa=5.0)
    np.testing.assert_allclose(found.move_points(x), TRUE.move_points(x), atol=1e-8)


def test_normals_alone_turn_what_points_cannot(rng):
    """Points on one line leave the rotation about it open; their normals do not."""
    x = np.linspace(-10, 10, 50)[:, None] * [1.0, 0, 0]
    n = mixture.normalize(rng.normal(size=(50, 3)) * [0, 1, 1])
    turn = Similarity(1.0, Rotation.from_rotvec([0.5, 0, 0]).as_matrix(), np.zeros(3))
    found = alignment.fit_statistics(certain(x, n), turn.move_points(x), turn.turn_normals(n), sigma=2.0, kappa=5.0)
    np.testing.assert_allclose(found.rotation, turn.rotation, atol=1e-8)


def test_the_rotation_is_proper(rng):
    for _ in range(20):
        assert np.linalg.det(alignment.nearest_rotation(rng.normal(size=(3, 3)))) == pytest.approx(1)


def dense_kernel(points, width):
    squared = np.sum((points[:, None] - points[None]) ** 2, axis=-1)
    return np.exp(-squared / (2 * width**2))


def test_the_kernel_factor_is_the_kernel(rng):
    points = rng.normal(size=(400, 3)) * 20
    factor = deformation.kernel_factor(points, 25.0, 200)
    np.testing.assert_allclose(factor @ factor.T, dense_kernel(points, 25.0), atol=2e-4)
    assert np.array_equal(factor, deformation.kernel_factor(points, 25.0, 200))


def test_the_low_rank_displacement_is_the_dense_one(rng):
    points = rng.normal(size=(300, 3)) * 20
    weight, force = rng.uniform(0.1, 3, 300), rng.normal(size=(300, 3))
    kernel = dense_kernel(points, 25.0)
    exact = kernel @ np.linalg.solve(weight[:, None] * kernel + 0.5 * np.eye(300), force)
    found = deformation.displacement(deformation.kernel_factor(points, 25.0, 250), weight, force, stiffness=0.5)
    np.testing.assert_allclose(found, exact, atol=2e-3 * np.abs(exact).max())


def test_projection_lands_on_the_surface_and_keeps_the_mesh_whole():
    points, faces = sphere(20.0)
    target, target_faces = sphere(22.0, centre=(0.5, 0, 0), subdivisions=5)
    target = target.astype(float)
    mesh, moved = Triangulation(faces, len(points)), points.astype(float)
    region = RegionPoints(target, vertex_normals(target, target_faces), slice(0, len(points)))
    for _ in range(4):
        moved = project(moved, mesh, [region])
    np.testing.assert_allclose(np.linalg.norm(moved - [0.5, 0, 0], axis=1), 22.0, atol=0.1)
    assert not mesh.find_folds(moved).any()


def test_a_fold_is_seen_and_smoothed_out():
    points, faces = sphere(20.0)
    mesh, bent = Triangulation(faces, len(points)), points.astype(float)
    assert not mesh.find_folds(bent).any()
    neighbours = np.unique(faces[(faces == 5).any(axis=1)])
    away = neighbours[neighbours != 5][0]
    bent[5] += 2.5 * (bent[away] - bent[5])
    assert mesh.find_folds(bent)[5]
    assert not mesh.find_folds(mesh.unfold(bent)).any()
