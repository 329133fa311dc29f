import numpy as np
import pytest

from fedsim_tf.data.cache import prepare_cohort
from fedsim_tf.data.crops import Crop
from fedsim_tf.data.preprocess import hu_from_unit, prepare, resample_to_original
from fedsim_tf.data.remarks import collect_remarks
from fedsim_tf.volume import Case, Geometry, Volume
from tests.data.test_preprocess import DIRECTIONS, geometry, points_mm

SLOPES = np.array([1.5, -2.0, 1.0])  # HU for each mm along x, y, z


def ramp(where: Geometry, shape=(40, 44, 48)) -> Case:
    """A CT whose values say where in the patient they lie, with a ball of 14 mm as heart in its middle."""
    points = points_mm(shape, where)
    middle = points[tuple(n // 2 for n in shape)]
    heart = np.linalg.norm(points - middle, axis=-1) < 14
    image = ((points - middle) @ SLOPES).astype(np.float32)
    return Case("ramp", Volume(image, where), Volume(heart.astype(np.uint8), where))


def middle_mm(case: Case) -> np.ndarray:
    z, y, x = (n // 2 for n in case.image.array.shape)
    where = case.image.geometry
    return np.array(where.origin_mm) + np.reshape(where.direction, (3, 3)) @ (np.array([x, y, z]) * where.spacing_mm)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_crop_has_the_values_of_the_places_that_it_names(name):
    case = ramp(geometry(name, spacing=(1.0, 1.1, 1.3)))
    centre = middle_mm(case) + np.array([2.3, -1.7, 3.1])
    cube = prepare(case, 16, crop=Crop.cube(tuple(centre.tolist()), 24.0))
    places = points_mm(cube.image.shape, cube.geometry)
    np.testing.assert_allclose(places.reshape(-1, 3).mean(axis=0), centre, atol=1e-6)
    np.testing.assert_allclose(hu_from_unit(cube.image), (places - middle_mm(case)) @ SLOPES, atol=0.05)
    assert cube.field_of_view_mm == pytest.approx((24.0, 24.0, 24.0))
    ball = np.linalg.norm(places - middle_mm(case), axis=-1) < 14
    assert np.mean(cube.label != ball) < 0.06  # the nearest voxel's


def test_beyond_the_ct_a_crop_is_air_without_a_heart():
    case = ramp(geometry("lps", spacing=(1.0, 1.0, 1.0)))
    cube = prepare(case, 32, crop=Crop.cube(tuple((middle_mm(case) - np.array([24, 0, 0])).tolist()), 32.0))
    x = points_mm(cube.image.shape, cube.geometry)[..., 0]
    outside = x < case.image.geometry.origin_mm[0] - 0.5
    assert outside.any()
    assert np.all(cube.image[outside] == -1.0)
    assert not cube.label[outside].any()
    assert np.all(cube.image[~outside] > -0.2)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_edges_of_a_crop_may_differ_and_reach_beyond_the_ct(name):
    case = ramp(geometry(name, spacing=(1.0, 1.1, 1.3)))
    edges_mm = (150.0, 30.0, 24.0)
    cube = prepare(case, 24, crop=Crop(tuple(middle_mm(case).tolist()), edges_mm))
    assert cube.field_of_view_mm == pytest.approx(edges_mm)
    places = points_mm(cube.image.shape, cube.geometry) - middle_mm(case)
    along = places @ np.reshape(cube.geometry.direction, (3, 3))
    inside = np.abs(along).max(axis=-1) < 10
    np.testing.assert_allclose(hu_from_unit(cube.image)[inside], places[inside] @ SLOPES, atol=0.5)
    ends = np.abs(along[..., 0]) > 60
    assert ends.any()
    assert np.all(cube.image[ends] == -1.0)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_mask_on_a_crop_returns_to_its_place_with_nothing_around(name):
    case = ramp(geometry(name, spacing=(1.0, 1.0, 1.0)))
    cube = prepare(case, 48, crop=Crop.cube(tuple(middle_mm(case).tolist()), 36.0))
    found = resample_to_original(cube.label, cube, nearest=True)
    assert found.geometry == case.image.geometry
    both = np.count_nonzero(found.array & case.label.array)
    assert 2 * both / (found.array.sum() + case.label.array.sum()) > 0.97
    air = resample_to_original(cube.image, cube, nearest=False).array
    far = np.linalg.norm(points_mm(air.shape, found.geometry) - middle_mm(case), axis=-1) > 18 * np.sqrt(3) + 2
    assert far.any()
    assert np.all(air[far] == -1.0)


class OneCase:
    name = "memory"

    def __init__(self, case):
        self.case, self.loads = case, 0

    def load(self, identity):
        self.loads += 1
        return self.case

    def fingerprint(self, identity):
        return identity


def test_each_crop_is_kept_by_itself_and_says_if_it_cuts_the_heart(tmp_path):
    source = OneCase(ramp(geometry("lps", spacing=(1.0, 1.0, 1.0))))
    centre = middle_mm(source.case)
    whole, cut = (Crop.cube(tuple((centre + np.array([shift, 0, 0])).tolist()), 30.0) for shift in (0, 12))
    for _ in range(2):
        with collect_remarks() as remarks:
            (held,) = prepare_cohort(source, ["ramp"], 16, crops={"ramp": whole}, cache_dir=tmp_path)
        assert held.crop == whole
        assert remarks == []
        with collect_remarks() as remarks:
            (cutting,) = prepare_cohort(source, ["ramp"], 16, crops={"ramp": cut}, cache_dir=tmp_path)
        assert cutting.crop == cut
        assert cutting.heart_ml < 0.9 * held.heart_ml
    assert "of the heart lies outside its crop of 30 x 30 x 30 mm" in cutting.remarks[0]
    assert source.loads == 2
