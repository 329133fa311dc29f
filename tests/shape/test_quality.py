import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.shape.quality import compactness, generalisation, reconstruct, specificity
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes, region_surface
from tests.shape.shapes_for_tests import population, sphere, two_balls


def octahedra(axes):
    """Subjects (n, 6, 3) with corners on the axes at the given half lengths (n, 3): Procrustes only scales them."""
    directions = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    corners = [[x, y, z] for x in (0, 1) for y in (2, 3) for z in (4, 5)]
    faces = [c if np.linalg.det(directions[c]) > 0 else c[::-1] for c in corners]
    return CorrespondingShapes(directions * np.asarray(axes)[:, None, :], np.array(faces), np.ones(6, int))


def linear_population(n, n_modes, *, size, seed=0):
    """Two balls that vary along smooth random directions only, turned, scaled and moved at random."""
    from scipy.spatial.transform import Rotation

    rng = np.random.default_rng(seed)
    points, faces, region_id = two_balls()
    points = points.astype(float)
    directions = np.sin(rng.normal(0, 0.05, (n_modes, 3, 3)) @ points.T).transpose(0, 2, 1)
    shapes = points + size * np.tensordot(rng.standard_normal((n, n_modes)), directions, axes=1)
    moved = [np.exp(rng.normal(0, 0.2)) * Rotation.random(random_state=i).apply(s) + 30.0 for i, s in enumerate(shapes)]
    return CorrespondingShapes(np.stack(moved), faces, region_id)


def test_compactness_agrees_with_scikit_learn():
    from sklearn.decomposition import PCA

    from fedsim_tf.shape.ssm import procrustes

    points, faces, region_id = population(n=7)
    found = compactness(CorrespondingShapes(points, faces, region_id))
    oracle = PCA(6).fit(procrustes(points.astype(float)).reshape(7, -1))
    np.testing.assert_allclose(found, np.cumsum(oracle.explained_variance_ratio_), atol=1e-5)
    assert found[-1] == pytest.approx(1)


def test_compactness_where_nothing_varies_is_one():
    points, faces, region_id = population(n=1)
    np.testing.assert_array_equal(compactness(CorrespondingShapes(np.repeat(points, 2, 0), faces, region_id)), 1)


@pytest.mark.parametrize(("n_modes", "order"), [(2, 1), (3, 2)])
def test_as_many_modes_as_the_population_has_describe_the_left_out(n_modes, order):
    """What three modes leave of a population with three is only the square of the variation: similarity bends lines."""
    small, large = (generalisation(linear_population(8, 3, size=size), n_modes) for size in (0.1, 0.4))
    for name in ("surface_mm", "vertex_mm"):
        assert getattr(large, name).mean() == pytest.approx(4**order * getattr(small, name).mean(), rel=0.15)
    if n_modes == 3:
        assert small.surface_mm.max() < 0.01 * 0.4


def test_generalisation_of_octahedra_by_hand():
    """All is in the half axes: scale to unit length, mean and one mode of the two others, residual."""
    axes = np.array([[20.0, 22, 25], [21, 20, 24], [25, 21, 20], [19, 24, 22]])
    found = generalisation(octahedra(axes), 2)
    for subject, own in enumerate(axes):
        rest = np.delete(axes, subject, axis=0)
        unit = rest / np.linalg.norm(rest, axis=1, keepdims=True)
        mean, size = unit.mean(axis=0), np.linalg.norm(unit.mean(axis=0))
        plane = np.linalg.svd(unit - mean)[2][2]  # two modes of three axes: what is left is along their normal
        scale = size / np.linalg.norm(own)
        residual = np.abs(((scale * own - mean) @ plane) * plane) / scale
        assert found.vertex_mm[subject] == pytest.approx(residual.mean(), rel=1e-3, abs=1e-5)
    assert np.all(found.surface_mm <= found.vertex_mm + 1e-9)


def test_distances_are_taken_to_the_true_surfaces():
    """One ball in all sizes is always described; truths of other triangles lie 2 mm and 3 mm outside it."""
    points, faces = sphere(20.0)
    region_id = np.ones(len(points), np.uint8)
    shapes = CorrespondingShapes(np.stack([points, 1.5 * points, points + 40]).astype(float), faces, region_id)
    truths = []
    for radius, centre in ((22.0, 0.0), (33.0, 0.0), (20.0, 40.0)):
        fine, fine_faces = sphere(radius, centre=(centre,) * 3, subdivisions=4)
        truths.append((fine, fine_faces, np.ones(len(fine), np.uint8)))
    found = generalisation(shapes, 1, truths)
    np.testing.assert_allclose(found.vertex_mm, 0, atol=1e-3)
    np.testing.assert_allclose(found.surface_mm, [2, 3, 0], atol=0.1)
    own = generalisation(shapes, 1)
    np.testing.assert_allclose(own.surface_mm, 0, atol=1e-3)


def test_regions_are_measured_apart_and_weighted_by_vertices():
    points, faces, region_id = population(n=5)
    shapes = CorrespondingShapes(points, faces, region_id)
    found = generalisation(shapes, 2)
    np.testing.assert_allclose(found.surface_mm, found.region_mm.mean(axis=1))  # both have as many vertices
    left, left_faces = region_surface(points, faces, region_id, 1)
    assert left.shape == (5, 162, 3)
    assert (left_faces.min(), left_faces.max()) == (0, 161)


def test_reconstruction_comes_back_where_the_points_were():
    from scipy.spatial.transform import Rotation

    model = StatisticalShapeModel.fit(*population(n=6), n_modes=3)
    moved = 1.7 * Rotation.from_euler("xyz", [0.3, 2.0, -1.0]).apply(model.mean) + [100, -50, 7]
    np.testing.assert_allclose(reconstruct(model, moved), moved, atol=1e-4)


def test_impossible_requests_are_refused():
    points, faces, region_id = population(n=5)
    shapes = CorrespondingShapes(points, faces, region_id)
    with pytest.raises(InputError, match=r"n_modes: found 4 with 5 subjects; expected 1 to 3"):
        generalisation(shapes, 4)
    truths = [(shape, faces, region_id) for shape in points]
    with pytest.raises(InputError, match="surfaces: found 4"):
        generalisation(shapes, 2, truths[:4])
    with pytest.raises(InputError, match=r"surface 4: found regions \[1\]; expected \[1, 2\]"):
        generalisation(shapes, 2, [*truths[:4], (points[4], faces, np.ones_like(region_id))])
    model = StatisticalShapeModel.fit(points, faces, region_id, n_modes=2)
    with pytest.raises(InputError, match="n_samples"):
        specificity(model, shapes, 0)
    ball, ball_faces = sphere()
    with pytest.raises(InputError, match="vertices"):
        specificity(model, CorrespondingShapes(ball[None], ball_faces, np.ones(len(ball), int)))


def test_specificity_of_a_model_without_variation_is_zero():
    points, faces, region_id = population(n=1)
    shapes = CorrespondingShapes(np.concatenate([points, 1.3 * points + 5]), faces, region_id)
    model = StatisticalShapeModel.fit(shapes.points, faces, region_id, n_modes=1)
    found = specificity(model, shapes, 20)
    assert found.mean_mm < 1e-3
    assert found.std_mm < 1e-3


def test_specificity_of_octahedra_by_hand():
    """Distance of half axes, at one size, to the nearest subject's; the subjects turned out of the model's frame."""
    axes = np.array([[20.0, 22, 25], [21, 20, 24], [25, 21, 20], [19, 24, 22]])
    shapes = octahedra(axes)
    model = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, 2)
    cycled = CorrespondingShapes(np.roll(shapes.points, 1, axis=2), shapes.faces, shapes.region_id)  # a rotation
    rng = np.random.default_rng(4)
    expected = []
    for _ in range(50):
        own = np.abs(model.instance(rng.standard_normal(2))).max(axis=1)[::2]
        size = np.linalg.norm(own) / np.linalg.norm(axes, axis=1, keepdims=True)
        expected.append(np.abs(size * axes - own).mean(axis=1).min())
    found = specificity(model, cycled, 50, seed=4)
    assert found.mean_mm == pytest.approx(np.mean(expected), rel=1e-3)
    assert found.std_mm == pytest.approx(np.std(expected), rel=1e-2)
    assert found.n_samples == 50


def test_real_hearts_generalise_as_known_before(real_data):
    shapes = CorrespondingShapes.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz"))
    found = generalisation(shapes, 14)
    assert found.surface_mm.mean() == pytest.approx(1.443, abs=0.002)
    assert found.vertex_mm.mean() == pytest.approx(2.333, abs=0.002)
    assert found.region_mm.shape == (19, 7)
