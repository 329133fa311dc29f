import dataclasses

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.shape.ssm import StatisticalShapeModel, load_shape_model, procrustes
from fedsim_tf.shape.surfaces import CorrespondingShapes
from tests.shape.shapes_for_tests import population


def test_all_modes_reproduce_the_training_shapes():
    points, faces, region_id = population(n=6)
    model = StatisticalShapeModel.fit(points, faces, region_id, n_modes=5)
    aligned = procrustes(points.astype(float))
    weights = np.tensordot(aligned - model.mean, model.modes, axes=([1, 2], [1, 2])) / model.std
    np.testing.assert_allclose(model.instance(weights), aligned, atol=1e-3)
    np.testing.assert_allclose(weights.std(axis=0, ddof=1), 1.0, atol=1e-3)


def test_variances_agree_with_scikit_learn():
    from sklearn.decomposition import PCA

    points, faces, region_id = population(n=10)
    model = StatisticalShapeModel.fit(points, faces, region_id, n_modes=4)
    oracle = PCA(4).fit(procrustes(points.astype(float)).reshape(10, -1))
    np.testing.assert_allclose(model.std**2, oracle.explained_variance_, rtol=1e-4)


def test_procrustes_removes_similarity_transforms(rng):
    from scipy.spatial.transform import Rotation

    points = population(n=1)[0][0].astype(float)
    moved = [
        np.exp(rng.normal(0, 0.2)) * Rotation.random(random_state=i).apply(points) + rng.normal(0, 50, 3)
        for i in range(5)
    ]
    aligned = procrustes(np.stack(moved))
    assert np.abs(aligned - aligned[0]).max() < 1e-6


def test_too_many_modes_are_refused():
    with pytest.raises(InputError, match=r"n_modes: found 6 with 6 subjects; expected 1 to 5"):
        StatisticalShapeModel.fit(*population(n=6), n_modes=6)


def test_save_and_load(tmp_path):
    model = StatisticalShapeModel.fit(*population(), n_modes=3)
    model.save(tmp_path / "model.npz")
    loaded = StatisticalShapeModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.instance(np.ones(3)), model.instance(np.ones(3)))
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]
    assert load_shape_model(tmp_path / "model.npz", n_modes=2).n_modes == 2
    with pytest.raises(InputError, match="found 3 modes; expected at least 14"):
        load_shape_model(tmp_path / "model.npz", n_modes=14)


def test_subjects_and_their_digests_are_kept(tmp_path):
    points, faces, region_id = population(n=3)
    names, digests = ("anna", "bert", "cora"), ("0a", "1b", "2c")
    shapes = CorrespondingShapes(points, faces, region_id, subjects=names, subject_digests=digests)
    shapes.save(tmp_path / "shapes.npz")
    fitted = load_shape_model(tmp_path / "shapes.npz", n_modes=2)
    fitted.save(tmp_path / "model.npz")
    for found in (
        CorrespondingShapes.load(tmp_path / "shapes.npz"),
        fitted,
        load_shape_model(tmp_path / "model.npz", n_modes=1),
    ):
        assert (found.subjects, found.subject_digests) == (names, digests)
    with pytest.raises(InputError, match="subject_digests: found 2 names; expected 3"):
        dataclasses.replace(shapes, subject_digests=digests[:2])


def test_models_without_digests_load_as_before(tmp_path):
    """Files of earlier versions have neither names nor digests, or names alone."""
    model = StatisticalShapeModel.fit(*population(), n_modes=2)
    arrays = {name: getattr(model, name) for name in ("mean", "modes", "std", "faces", "region_id")}
    np.savez(tmp_path / "model.npz", **arrays, format_version=1)
    assert StatisticalShapeModel.load(tmp_path / "model.npz").subject_digests == ()
    np.savez(tmp_path / "model.npz", **arrays, format_version=1, subjects=np.array(["anna"]))
    found = StatisticalShapeModel.load(tmp_path / "model.npz")
    assert (found.subjects, found.subject_digests) == (("anna",), ())


def test_damaged_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "model.npz"
    with pytest.raises(InputError, match="no such file"):
        StatisticalShapeModel.load(path)
    StatisticalShapeModel.fit(*population(), n_modes=3).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged"):
        StatisticalShapeModel.load(path)
    np.savez(path, mean=np.zeros((3, 3)))
    with pytest.raises(InputError, match="modes"):
        StatisticalShapeModel.load(path)


def test_open_and_broken_surfaces_are_refused():
    points, faces, region_id = population()
    with pytest.raises(InputError, match="open"):
        CorrespondingShapes(points, faces[1:], region_id)
    with pytest.raises(InputError, match="NaN"):
        CorrespondingShapes(np.where(points == points.max(), np.nan, points), faces, region_id)
    mixed = region_id.copy()
    mixed[0] = 2
    with pytest.raises(InputError, match="across two regions"):
        CorrespondingShapes(points, faces, mixed)


def test_surfaces_inside_out_are_refused(tmp_path):
    """Nothing would lie inside them: every label made of such a shape would be empty."""
    points, faces, region_id = population()
    second = region_id[faces[:, 0]] == 2
    for turned in (faces[:, ::-1], np.where(second[:, None], faces[:, ::-1], faces)):
        region = 1 if turned[0, 0] != faces[0, 0] else 2
        with pytest.raises(InputError, match=f"region {region} of shape 0 inside out"):
            CorrespondingShapes(points, turned, region_id)
    mirrored = points.copy()
    mirrored[3] *= (-1, 1, 1)
    with pytest.raises(InputError, match="region 1 of shape 3 inside out"):
        CorrespondingShapes(mirrored, faces, region_id)
    model = StatisticalShapeModel.fit(points, faces, region_id, n_modes=3)
    dataclasses.replace(model, faces=model.faces[:, ::-1]).save(tmp_path / "model.npz")
    with pytest.raises(InputError, match="inside out"):
        StatisticalShapeModel.load(tmp_path / "model.npz")


@pytest.mark.parametrize("values", [(500, 600), (0, 1), (1, 8)])
def test_numbers_that_are_no_regions_are_refused(tmp_path, values):
    """MM-WHS's values would wrap around in eight bits."""
    points, faces, region_id = population()
    np.savez(tmp_path / "shapes.npz", shapes=points, faces=faces, region_id=np.array(values)[region_id - 1])
    with pytest.raises(InputError, match=r"region_id: found (500|0|8); expected regions 1\.\.7"):
        CorrespondingShapes.load(tmp_path / "shapes.npz")


def test_shapes_in_metres_are_refused():
    """Nothing of such a heart would be seen in a field of view."""
    points, faces, region_id = population()
    with pytest.raises(InputError, match=r"points: found shapes of up to 0\.\d+ across; expected mm"):
        CorrespondingShapes(points / 1000, faces, region_id)


def test_files_with_the_wrong_kind_of_numbers_are_named(tmp_path):
    path, model = tmp_path / "model.npz", StatisticalShapeModel.fit(*population(), n_modes=3)
    dataclasses.replace(model, faces=model.faces.astype(np.float64)).save(path)
    with pytest.raises(InputError, match=r"model\.npz: faces: found values of float64; expected whole numbers"):
        StatisticalShapeModel.load(path)
    dataclasses.replace(model, faces=np.where(model.faces == 3, -5, model.faces)).save(path)
    with pytest.raises(InputError, match=r"model\.npz: faces: found vertex -5"):
        StatisticalShapeModel.load(path)
    dataclasses.replace(model, mean=model.mean.astype(str)).save(path)
    with pytest.raises(InputError, match=r"model\.npz: found mean of <U\d+; expected numbers"):
        StatisticalShapeModel.load(path)


def test_surfaces_without_faces_are_refused():
    points, faces, region_id = population()
    with pytest.raises(InputError, match="faces: found none"):
        CorrespondingShapes(points, faces[:0], region_id)


@pytest.mark.parametrize("changes", [{"modes": (slice(None), slice(5))}, {"std": slice(2)}, {"mean": slice(-5)}])
def test_models_whose_arrays_do_not_fit_are_refused(tmp_path, changes):
    path, model = tmp_path / "model.npz", StatisticalShapeModel.fit(*population(), n_modes=3)
    dataclasses.replace(model, **{name: getattr(model, name)[part] for name, part in changes.items()}).save(path)
    with pytest.raises(InputError, match=r"model\.npz: found mean, modes and std of shapes"):
        StatisticalShapeModel.load(path)


def test_generalisation_over_real_hearts(real_data):
    """Each of the 19 left out, aligned and projected on 14 modes of the rest: 2.35 mm mean error, known before."""
    from scipy.spatial import procrustes as pairwise

    shapes = CorrespondingShapes.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz"))
    errors = []
    for left_out in range(len(shapes.points)):
        rest = np.delete(shapes.points, left_out, axis=0)
        model = StatisticalShapeModel.fit(rest, shapes.faces, shapes.region_id, n_modes=14)
        size = np.linalg.norm(model.mean)
        heart = shapes.points[left_out] - shapes.points[left_out].mean(0)
        _, aligned, _ = pairwise(model.mean, heart)  # unit size
        deviation = aligned * size - model.mean
        weights = np.tensordot(model.modes, deviation, axes=([1, 2], [0, 1]))
        residual = deviation - np.tensordot(weights, model.modes, axes=1)
        errors.append(np.linalg.norm(residual, axis=1).mean() * np.linalg.norm(heart) / size)
    assert np.mean(errors) == pytest.approx(2.35, abs=0.15)
