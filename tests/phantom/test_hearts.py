import dataclasses

import numpy as np
import pytest
import trimesh
from scipy.spatial import Delaunay

from fedsim_tf.phantom.hearts import (
    ADULTS,
    CHILDREN,
    YOUNG_ADULTS,
    HeartMeasures,
    deform,
    draw_hearts,
    heart,
    topology,
)
from fedsim_tf.shape.ssm import StatisticalShapeModel

# Means over 19 adults at the end of diastole, ml (Rodero et al. 2021); of the arteries the data cut a varying part.
PUBLISHED_ML = {1: 125, 2: 153, 3: 70, 4: 87, 5: 141}


def volumes_ml(points):
    faces, regions = topology()
    return {
        region: trimesh.Trimesh(points, faces[regions[faces[:, 0]] == region], process=False).volume / 1000
        for region in range(1, 8)
    }


def test_every_region_is_a_closed_outward_oriented_surface():
    faces, regions = topology()
    for region in range(1, 8):
        mesh = trimesh.Trimesh(heart(HeartMeasures()), faces[regions[faces[:, 0]] == region])
        assert mesh.is_watertight
        assert mesh.is_winding_consistent
        assert mesh.volume > 0
        assert mesh.euler_number == 2


def test_the_typical_heart_has_the_volumes_of_published_adults():
    found = volumes_ml(heart(HeartMeasures()))
    for region, volume in PUBLISHED_ML.items():
        assert found[region] == pytest.approx(volume, rel=0.07)
    assert 45 <= found[6] <= 90
    assert 10 <= found[7] <= 50


def test_the_ventricle_lies_in_its_wall_and_the_septum_between_the_ventricles():
    regions = topology()[1]
    points = heart(HeartMeasures())
    part = {region: points[regions == region] for region in range(1, 8)}
    centre = {region: values.mean(axis=0) for region, values in part.items()}
    left, back, head = np.eye(3)
    assert centre[1] @ left > centre[2] @ left  # the left ventricle lies to the left and behind
    assert centre[1] @ back > centre[2] @ back
    assert centre[3] @ back > max(centre[1] @ back, centre[4] @ back)  # the left atrium is the hindmost chamber
    assert centre[4] @ left < min(centre[region] @ left for region in (1, 2, 3))
    assert min(centre[6] @ head, centre[7] @ head) > centre[3] @ head
    assert np.mean(Delaunay(part[5]).find_simplex(part[1]) >= 0) > 0.9


def test_populations_differ_as_they_should():
    size = {
        name: draw_hearts(p, 24, seed=3).points for name, p in (("a", ADULTS), ("c", CHILDREN), ("y", YOUNG_ADULTS))
    }
    extent = {name: np.ptp(points, axis=1).mean(axis=0).mean() for name, points in size.items()}
    assert extent["c"] < 0.85 * extent["a"]
    assert extent["c"] < extent["y"] < extent["a"]
    ratio = {name: np.mean([volumes_ml(p)[2] / volumes_ml(p)[1] for p in points]) for name, points in size.items()}
    assert ratio["y"] > 1.2 * ratio["a"]  # right ventricles under load


def test_subjects_are_their_own_and_the_same_every_time():
    first, again, other = (draw_hearts(ADULTS, 3, seed=seed).points for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1
    assert np.abs(first[0] - first[1]).max() > 1
    np.testing.assert_array_equal(first[:2], draw_hearts(ADULTS, 2, seed=1).points)


def test_deformation_has_the_size_asked_for_and_is_smooth(rng):
    points = heart(HeartMeasures())
    moved = deform(points, rng, rms_mm=2.0) - points
    assert np.sqrt(np.mean(np.sum(moved**2, axis=1))) == pytest.approx(2.0)
    faces, _ = topology()
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]]])
    stretch = np.linalg.norm(moved[edges[:, 0]] - moved[edges[:, 1]], axis=1)
    length = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    assert np.max(stretch / np.maximum(length, 1.0)) < 0.6


def test_a_shape_model_of_other_hearts_does_not_span_a_subject():
    train, test = draw_hearts(ADULTS, 20, seed=1), draw_hearts(ADULTS, 1, seed=2)
    model = StatisticalShapeModel.fit(train.points, train.faces, train.region_id, 14)
    centred = test.points[0] - test.points[0].mean(axis=0)
    centred *= np.linalg.norm(model.mean) / np.linalg.norm(centred)
    left, _, right = np.linalg.svd(centred.T @ model.mean)
    residual = centred @ left @ right - model.mean
    basis = model.modes.reshape(14, -1)
    rest = residual.ravel() - basis.T @ (basis @ residual.ravel())
    assert 0.5 < np.sqrt(np.mean(np.sum(rest.reshape(-1, 3) ** 2, axis=1))) < 6.0


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(HeartMeasures)])
def test_every_measure_moves_the_heart(name):
    typical = HeartMeasures()
    larger = dataclasses.replace(typical, **{name: 1.1 * getattr(typical, name)})
    assert np.abs(heart(larger) - heart(typical)).max() > 0.05
