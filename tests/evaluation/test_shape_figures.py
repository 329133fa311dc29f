"""Pictures of shapes: drawn, seen from the front, and showing what they say."""

import numpy as np
import pytest
import tensorflow as tf
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.shape_figures import (
    _draw_cut,
    draw_surface,
    fit_figure,
    mode_figure,
    quality_figure,
)
from fedsim_tf.regions import REGIONS
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.quality import compactness, generalisation
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import label_map
from tests.evaluation.pictures_for_tests import is_drawn, pixels, share_of
from tests.shape.shapes_for_tests import population, sphere, two_balls

GRID = Grid.centred((30, 32, 40), (120.0, 96.0, 90.0))


def colour_of(region):
    return tuple(round(255 * value) for value in to_rgb(REGIONS[region].colour))


@pytest.fixture(scope="module")
def shapes():
    return CorrespondingShapes(*population(n=5))


@pytest.fixture(scope="module")
def model(shapes):
    return StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, n_modes=2)


def test_modes_have_rows_and_deviations_columns(tmp_path, titles, model):
    mode_figure(tmp_path / "a.png", model, deviations=(-3, 0, 3), title="Modes")
    mode_figure(tmp_path / "b.png", model, n_modes=1, deviations=(-2, 2))
    assert is_drawn(tmp_path / "a.png")
    assert titles["a.png"] == ["Modes", "-3 sd", "mode 1\n68%", "mean", "+3 sd", "mode 2\n32%"]
    assert titles["b.png"] == ["-2 sd", "mode 1\n68%", "+2 sd"]
    large, small = pixels(tmp_path / "a.png").shape, pixels(tmp_path / "b.png").shape
    assert large[0] > 1.3 * small[0]
    assert large[1] > 1.3 * small[1]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_modes_of_one_region_and_without_variation_are_drawn(tmp_path):
    points, faces = sphere()
    region_id = np.ones(len(points), int)
    model = StatisticalShapeModel.fit(np.stack([points, 2 * points, points + 1]), faces, region_id, n_modes=1)
    mode_figure(tmp_path / "a.png", model)
    assert is_drawn(tmp_path / "a.png")
    assert share_of(pixels(tmp_path / "a.png"), *colour_of(1)) > 0.01
    with pytest.raises(InputError, match="modes and deviations: found 1 and 0"):
        mode_figure(tmp_path / "b.png", model, deviations=())


def drawn_surface(points, faces, region_id):
    axis = Figure().subplots()
    draw_surface(axis, points, faces, region_id)
    (surface,) = axis.collections
    return np.array([path.vertices[:3] for path in surface.get_paths()]), surface.get_facecolors()[:, :3]


def test_patients_are_seen_from_the_front():
    """The ball in front (smaller y) is drawn last, +x to the right, +z up; nothing that faces away is drawn."""
    points, faces, region_id = two_balls()
    points[region_id == 2] += [-30, -40, 10]
    corners, colours = drawn_surface(points, faces, region_id)
    assert len(corners) < 0.6 * len(faces)
    front = colours[:, 2] > colours[:, 0]  # region 2 is blue, region 1 is red
    assert np.all(front[-front.sum() :])
    np.testing.assert_allclose(corners[front].reshape(-1, 2).mean(axis=0), [-8, 8], atol=1.0)


def test_light_comes_from_above():
    points, faces = sphere()
    corners, colours = drawn_surface(points, faces, np.ones(len(points), int))
    middle, bright = corners.mean(axis=1), colours.sum(axis=1)
    assert bright[middle[:, 1] > 10].mean() > 1.2 * bright[middle[:, 1] < -10].mean()


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_cut_of_a_ball_is_a_circle(cut):
    centre = np.array([3.0, -5.0, 8.0])
    points, faces = sphere(20.0, centre=centre)
    axis, drawn = Figure().subplots(), tuple(np.delete([0, 1, 2], cut))
    where = {"plane_mm": centre[cut] + 12.0, "drawn": drawn, "cut": cut}
    _draw_cut(axis, points, faces, np.full(len(points), 3), **where)
    (lines,) = axis.collections
    ends = np.concatenate(lines.get_segments())
    np.testing.assert_allclose(np.linalg.norm(ends - centre[list(drawn)], axis=1), 16.0, atol=0.35)


def test_lines_of_a_surface_lie_on_the_border_of_its_label_map(tmp_path, titles):
    points, faces, region_id = two_balls()
    labels = np.array(label_map(tf.constant(points), faces, region_id, GRID))
    fit_figure(tmp_path / "a.png", labels, GRID, points, faces, region_id, title="Fit")
    assert is_drawn(tmp_path / "a.png")
    assert titles["a.png"][0] == "Fit"
    assert [title.split(",")[0] for title in titles["a.png"][1:]] == ["axial", "coronal", "sagittal"]
    image = pixels(tmp_path / "a.png")
    for region in (1, 2):
        dark = np.array(colour_of(region)) * 0.72
        pale = np.array(colour_of(region)) * 0.45 + 255 * 0.55
        assert share_of(image, *dark) > 1e-3
        assert share_of(image, *pale) > 1e-2


def test_label_map_of_another_grid_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"label: found shape \(3, 3, 3\)"):
        fit_figure(tmp_path / "a.png", np.zeros((3, 3, 3)), GRID, *two_balls())


def test_empty_label_map_is_drawn(tmp_path):
    fit_figure(tmp_path / "a.png", np.zeros(GRID.shape, np.uint8), GRID, *two_balls())
    assert is_drawn(tmp_path / "a.png")


def test_quality_says_its_numbers(tmp_path, titles, shapes):
    found = generalisation(shapes, 2)
    quality_figure(tmp_path / "a.png", compactness(shapes), found, shapes.region_id, title="Five")
    assert is_drawn(tmp_path / "a.png")
    assert titles["a.png"] == ["Five", "compactness", "generalisation, 2 modes", "left-out error by region"]
    with pytest.raises(InputError, match="expected 2 regions"):
        quality_figure(tmp_path / "b.png", compactness(shapes), found, np.ones(3, int))
