import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from fedsim_tf.errors import InputError
from fedsim_tf.phantom.acquisition import acquire
from fedsim_tf.phantom.hearts import ADULTS, draw_hearts, model_hearts
from fedsim_tf.phantom.sites import SITES, deal_hearts
from fedsim_tf.phantom.subjects import draw_subject_heart, make_subject
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.voxelize import occupancy
from fedsim_tf.volume import Case

SMALL = (56, 80, 80)


@pytest.fixture(scope="module", params=sorted(SITES))
def subject(request) -> tuple[str, Case]:
    spec = dataclasses.replace(SITES[request.param], shape=SMALL)
    return request.param, make_subject(spec, 0, "one")


def test_tissues_have_their_ct_values(subject):
    name, case = subject
    hu, label = case.image.array.astype(float), case.label.array
    scanner = SITES[name].scanner
    assert case.image.array.dtype == np.int16
    inner = {region: hu[eroded(label == region)] for region in range(1, 6)}
    assert np.median(inner[1]) == pytest.approx(scanner.left_hu + scanner.shift_hu, rel=0.4)
    assert np.median(inner[5]) == pytest.approx(scanner.muscle_hu + scanner.shift_hu, abs=35)
    assert np.median(inner[1]) > np.median(inner[5]) + 50
    far = hu[label == 0]
    assert np.mean(far < -700) > 0.1  # lungs and air
    assert np.mean((far > -140) & (far < -50)) > 0.02  # fat
    assert np.mean((far > 0) & (far < 120)) > 0.05  # muscle, liver
    assert np.mean(far > 400) > 0.001  # bone


def eroded(mask):
    found = sitk.BinaryErode(sitk.GetImageFromArray(mask.astype(np.uint8)), [1, 1, 1])
    return sitk.GetArrayFromImage(found) > 0


def test_the_whole_heart_is_in_view_and_in_one_piece(subject):
    _, case = subject
    label = case.label.array
    assert set(np.unique(label)) == set(range(8))
    heart = label > 0
    border = np.ones_like(heart)
    border[1:-1, 1:-1, 1:-1] = False
    assert not np.any(heart & border)
    pieces = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(heart.astype(np.uint8)), True))
    assert np.bincount(pieces.ravel())[1:].max() > 0.995 * heart.sum()


def test_left_is_left_whatever_way_the_axes_are_stored(subject):
    _, case = subject
    image = sitk.GetImageFromArray(case.label.array)
    image.SetSpacing(case.label.geometry.spacing_mm)
    image.SetOrigin(case.label.geometry.origin_mm)
    image.SetDirection(case.label.geometry.direction)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(image)
    assert shape.GetCentroid(1)[0] > shape.GetCentroid(4)[0]  # left ventricle, right atrium
    assert shape.GetCentroid(3)[1] > shape.GetCentroid(2)[1]  # left atrium behind right ventricle


@pytest.mark.parametrize("name", SITES)
def test_noise_follows_the_dose(name):
    """A water cylinder, scanned twice with each dose: differences of the two are noise alone."""
    shape, spacing_mm = (16, 48, 48), (5.0, 5.0, 5.0)
    y, x = np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * 5.0 for n in shape[1:]], indexing="ij")
    body = np.broadcast_to(np.where(x**2 + y**2 < 110**2, 0.0, -1000.0), shape)
    noise = {}
    for dose in (1.0, 4.0):
        scanner = dataclasses.replace(SITES[name].scanner, photons=dose * 2000.0)
        first, second = (
            acquire(scanner, body, spacing_mm=spacing_mm, rng=np.random.default_rng(k)).astype(float) for k in (0, 1)
        )
        noise[dose] = (first - second)[4:12, 16:32, 16:32].std() / np.sqrt(2)
    assert noise[1.0] == pytest.approx(2 * noise[4.0], rel=0.15)
    assert noise[1.0] > 5.0  # HU


def test_same_arguments_same_subject_other_number_another():
    spec = dataclasses.replace(SITES["ct34lc"], shape=(28, 40, 40))
    first, again, other = (make_subject(spec, number, "x") for number in (3, 3, 4))
    np.testing.assert_array_equal(first.image.array, again.image.array)
    np.testing.assert_array_equal(first.label.array, again.label.array)
    assert first.image.geometry == again.image.geometry
    assert first.image.geometry != other.image.geometry


def test_labels_hold_the_volume_of_the_surfaces():
    shapes = draw_hearts(ADULTS, 1, seed=5)
    spec = dataclasses.replace(SITES["ct20"], shape=SMALL)
    case = make_subject(spec, 0, "x", shapes)
    voxel_mm3 = np.prod(case.label.geometry.spacing_mm)
    grid = Grid.centred((96, 96, 96), (240.0, 240.0, 240.0))
    centred = shapes.points[0] - shapes.points[0].mean(axis=0)
    union = np.clip(occupancy(centred, shapes.faces, grid).numpy(), 0, 1).sum() * 2.5**3
    assert (case.label.array > 0).sum() * voxel_mm3 == pytest.approx(union, rel=0.02)


def test_given_shapes_come_first_and_then_phantom_hearts():
    shapes = draw_hearts(ADULTS, 3, seed=5)
    spec = dataclasses.replace(SITES["ct20"], deformation_mm=0.0)
    for number in range(3):
        points, *_ = draw_subject_heart(spec, number, shapes=shapes, rng=np.random.default_rng(number))
        assert spread(points) == pytest.approx(spread(shapes.points[number]), rel=1e-5)
    later, without = (
        draw_subject_heart(spec, 3, shapes=given, rng=np.random.default_rng(3))[0] for given in (shapes, None)
    )
    np.testing.assert_array_equal(later, without)


def test_given_hearts_are_each_at_one_site_alone():
    few, many = draw_hearts(ADULTS, 19, seed=5), draw_hearts(ADULTS, 60, seed=5)
    assert len(deal_hearts(few, "ct20").points) == 19
    assert deal_hearts(few, "ct34lc") is None
    assert deal_hearts(few, "ct34mc") is None
    parts = [deal_hearts(many, name).points for name in ("ct20", "ct34lc", "ct34mc")]
    assert [len(part) for part in parts] == [20, 34, 6]
    np.testing.assert_array_equal(np.concatenate(parts), many.points)


@pytest.mark.parametrize("name", SITES)
def test_no_shape_model_of_the_same_hearts_spans_a_subject(name):
    """Each subject's own deformation: what is left of it beside all hearts' span, in mm."""
    shapes = draw_hearts(ADULTS, 12, seed=5)
    spec = SITES[name]
    span = (shapes.points - shapes.points.mean(axis=0)).reshape(12, -1).T
    turned = [
        lstsq_rest(
            span,
            draw_subject_heart(dataclasses.replace(spec, deformation_mm=d), 1, shapes=shapes, rng=seeded())[0],
            shapes,
        )
        for d in (0.0, spec.deformation_mm)
    ]
    assert turned[0] < 0.05
    assert turned[1] > 0.5 * spec.deformation_mm


@pytest.mark.parametrize("name", SITES)
def test_hearts_are_turned_as_much_as_at_their_site(name):
    shapes = draw_hearts(ADULTS, 1, seed=5)
    upright = shapes.points[0] - shapes.points[0].mean(axis=0)
    spec = dataclasses.replace(SITES[name], deformation_mm=0.0)
    turns = [
        Rotation.align_vectors(draw_subject_heart(spec, 0, shapes=shapes, rng=seeded(k))[0], upright)[0].as_rotvec()
        for k in range(100)
    ]
    assert np.std(turns) == pytest.approx(spec.tilt_rad, rel=0.15)


def seeded(seed=3):
    return np.random.default_rng(seed)


def lstsq_rest(span, points, shapes):
    """Root mean square distance in mm of a heart, aligned to its given one, from the span of all given hearts."""
    given = shapes.points[1] - shapes.points[1].mean(axis=0)
    centred = points - points.mean(axis=0)
    left, _, right = np.linalg.svd(centred.T @ given)
    aligned = (centred @ left @ right - (shapes.points.mean(axis=0) - shapes.points[1].mean(axis=0))).ravel()
    rest = aligned - span @ np.linalg.lstsq(span, aligned, rcond=None)[0]
    return np.linalg.norm(rest) / np.sqrt(len(points))


def spread(points):
    return np.linalg.norm(points - points.mean(axis=0))


def fitted_distance(points, other):
    a, b = points - points.mean(axis=0), other - other.mean(axis=0)
    left, _, right = np.linalg.svd(a.T @ b)
    return np.linalg.norm(a @ left @ right - b) / np.sqrt(len(a))


def test_real_hearts_fit_into_the_chest(real_data):
    shapes = CorrespondingShapes.load(real_data("hearts_kcl19/kcl19_7region_shapes.npz"))
    spec = dataclasses.replace(SITES["ct20"], shape=SMALL)
    case = make_subject(spec, 0, "real", shapes)
    heart_ml = (case.label.array > 0).sum() * np.prod(case.label.geometry.spacing_mm) / 1000
    assert 450 < heart_ml < 1000
    outside = case.image.array[case.label.array == 0]
    assert np.mean(outside < -700) > 0.1


def test_hearts_of_the_shape_model_are_enough_and_nobody_of_a_site():
    hearts = model_hearts()
    assert StatisticalShapeModel.fit(hearts.points, hearts.faces, hearts.region_id, 14).n_modes == 14
    for name, spec in SITES.items():
        points, *_ = draw_subject_heart(spec, 0, shapes=None, rng=np.random.default_rng([spec.seed, 0]))
        nearest = min(fitted_distance(points, other) for other in hearts.points)
        assert nearest > 0.5, name


def test_an_unknown_site_is_refused(tmp_path):
    from fedsim_tf.phantom.cohort import ensure_site

    with pytest.raises(InputError, match=r"ct99.*ct20, ct34lc, ct34mc"):
        ensure_site("ct99", tmp_path)
