import numpy as np
import pytest
import trimesh

from fedsim_tf.phantom.lofts import bezier, loft, loft_faces, tube


def test_a_tube_is_closed_and_has_the_volume_of_a_prism():
    n_rings, n_points, radius = 9, 16, 3.0
    path = np.linspace([0.0, 0.0, 0.0], [4.0, 8.0, 19.0], n_rings)
    mesh = trimesh.Trimesh(tube(path, np.full(n_rings, radius), n_points), loft_faces(n_rings, n_points), process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    polygon = 0.5 * n_points * radius**2 * np.sin(2 * np.pi / n_points)
    assert mesh.volume == pytest.approx(polygon * 21.0, rel=1e-9)


def test_a_loft_through_circles_of_latitude_is_a_sphere():
    polar = np.pi * np.arange(59, 0, -1) / 60
    turns = 2 * np.pi * np.arange(80) / 80
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    rings = np.concatenate(
        [np.sin(polar)[:, None, None] * circle, np.broadcast_to(np.cos(polar)[:, None, None], (59, 80, 1))], axis=2
    )
    points = loft(np.array([0, 0, -1.0]), rings, np.array([0, 0, 1.0]))
    mesh = trimesh.Trimesh(points, loft_faces(59, 80), process=False)
    assert mesh.volume == pytest.approx(4 / 3 * np.pi, rel=0.005)


def test_bezier_is_quadratic_between_its_ends():
    points = np.array([[0.0, 0, 0], [1.0, 2, 0], [2.0, 0, 4]])
    curve = bezier(points, 5)
    np.testing.assert_allclose(curve[[0, -1]], points[[0, 2]])
    np.testing.assert_allclose(curve[2], 0.25 * points[0] + 0.5 * points[1] + 0.25 * points[2])
    np.testing.assert_allclose(np.diff(curve, n=3, axis=0), 0, atol=1e-12)
