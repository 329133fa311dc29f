"""Tissues of a chest made of boxes, their CT values, and the picture of both."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from fedsim_tf.evaluation.likeness import compare_volumes, measure_volumes
from fedsim_tf.evaluation.likeness_figures import SHOWN, draw_likeness, spread_slices
from fedsim_tf.evaluation.tissues import compare_tissues, tissue_masks
from fedsim_tf.regions import LV, MYOCARDIUM, REGIONS
from fedsim_tf.training.volumes import Volumes
from tests.evaluation.pictures_for_tests import is_drawn, pixels
from tests.training.toy_site import small_vgg

SIZE = 20
WINDOW_HU = (-1000.0, 1000.0)
HU = {"air": -1000.0, "soft": 40.0, "lung": -800.0, "heart": 180.0, "bone": 700.0}


def box(*bounds):
    mask = np.zeros((SIZE,) * 3, bool)
    mask[tuple(slice(*pair) for pair in bounds)] = True
    return mask


HEART = box((6, 14), (8, 12), (8, 12))
LUNG = box((2, 18), (6, 14), (4, 7)) | box((2, 18), (6, 14), (13, 16))
BONE = box((0, 20), (14, 17), (9, 11))
ARTERY = box((6, 14), (12, 13), (9, 11))  # as dense as bone, at the heart's surface, without a label
COUCH = box((0, 20), (19, 20), (2, 18))
BODY = box((0, 20), (3, 18), (2, 18))


def chest(shift_hu=0.0):
    image_hu = np.full((SIZE,) * 3, HU["air"])
    for mask, tissue in ((BODY, "soft"), (LUNG, "lung"), (ARTERY, "bone"), (BONE, "bone"), (COUCH, "bone")):
        image_hu[mask] = HU[tissue]
    image_hu[HEART] = HU["heart"]
    return image_hu + shift_hu


def volumes(*shifts_hu):
    images = np.stack([chest(shift) / 1000.0 for shift in shifts_hu]).astype(np.float32)
    labels = np.stack([HEART] * len(shifts_hu)).astype(np.float32)
    return Volumes(tuple(str(shift) for shift in shifts_hu), images, labels)


def measure(annotated):
    return measure_volumes(
        annotated, annotated.images, vgg=small_vgg(), window_hu=WINDOW_HU, field_of_view_mm=(60.0, 60.0, 60.0)
    )


def compare(*parts):
    return compare_volumes(*map(measure, parts), window_hu=WINDOW_HU)


def test_air_couch_and_contrast_beside_the_heart_are_no_tissue():
    masks = tissue_masks(chest(), HEART)
    for name, expected in (("heart", HEART), ("lung", LUNG), ("bone", BONE), ("body", BODY)):
        np.testing.assert_array_equal(masks[name], expected)


def test_soft_tissue_is_neither_lung_nor_bone_nor_near_the_heart():
    """A twentieth of the edge is one voxel: those that touch the heart's faces are left out."""
    near = ndimage.binary_dilation(HEART)
    np.testing.assert_array_equal(tissue_masks(chest(), HEART)["soft tissue"], BODY & ~LUNG & ~BONE & ~near)


def test_voxels_that_are_lung_in_part_are_no_soft_tissue():
    image_hu = chest()
    image_hu[BODY & ~LUNG & ~BONE & ~HEART] = -300.0
    assert not tissue_masks(image_hu, HEART)["soft tissue"].any()


def test_without_a_heart_all_that_is_dense_in_the_body_is_bone():
    image_hu = chest()
    image_hu[HEART] = HU["soft"]
    masks = tissue_masks(image_hu, np.zeros_like(image_hu))
    assert not masks["heart"].any()
    np.testing.assert_array_equal(masks["bone"], BONE | ARTERY)


def test_air_alone_has_no_tissue():
    masks = tissue_masks(np.full((4, 4, 4), -1000.0), np.zeros((4, 4, 4)))
    assert not any(mask.any() for mask in masks.values())


def test_values_are_those_of_each_volume():
    values = measure(volumes(0.0, 20.0)).values_hu
    for tissue, mask in (("heart", HEART), ("lung", LUNG), ("bone", BONE)):
        for found, shift in zip(values[tissue], (0.0, 20.0), strict=True):
            np.testing.assert_allclose(found, np.full(mask.sum(), HU[tissue] + shift), atol=1e-3)


def test_distance_of_shifted_distributions_is_the_shift():
    compared = compare(volumes(0.0, 0.0), volumes(30.0)).tissues
    assert set(compared) == {"heart", "lung", "soft tissue", "bone"}
    for tissue in ("heart", "lung", "bone"):
        row = compared[tissue]
        assert row.distance_hu == pytest.approx(30.0, abs=1e-3)
        assert row.real_mean_hu == pytest.approx(HU[tissue], abs=1e-3)
        assert row.synthetic_mean_hu == pytest.approx(HU[tissue] + 30.0, abs=1e-3)
        assert row.real_sd_hu == pytest.approx(0.0, abs=1e-3)


def test_distance_sees_spread_where_means_agree():
    real = {"heart": [np.array([-1.0, 1.0])], "lung": [], "bone": [np.zeros(1)]}
    compared = compare_tissues(real, {**real, "heart": [np.array([-3.0, 3.0])], "lung": [np.ones(1)]})
    assert set(compared) == {"heart", "bone"}
    assert compared["heart"].distance_hu == pytest.approx(2.0)


def test_the_spread_within_volumes_is_not_that_over_the_set():
    """Bright and dark hearts without any texture spread over the set alone; one textured kind within volumes too."""
    flat, textured = [np.full(4, 100.0), np.full(4, 200.0)], [np.array([100.0, 200.0] * 2)] * 2
    row = compare_tissues({"heart": flat}, {"heart": textured})["heart"]
    assert (row.real_sd_hu, row.synthetic_sd_hu) == (50.0, 50.0)
    assert (row.real_within_sd_hu, row.synthetic_within_sd_hu) == (0.0, 50.0)


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 1, 2, 0, 1, 2, 0, 1]), (16, [0, 2, 4, 6, 8, 10, 12, 14])])
def test_slices_come_from_all_volumes_and_climb(count, expected):
    images = (
        np.broadcast_to(np.arange(count)[:, None, None, None] * 100.0, (count, SIZE, 2, 2))
        + np.arange(SIZE)[:, None, None]
    )
    shown = spread_slices(images)
    assert shown.shape == (SHOWN, 2, 2)
    np.testing.assert_array_equal(shown[:, 0, 0] // 100, expected)
    heights = shown[:, 0, 0] % 100
    assert np.all(np.diff(heights) > 0)
    assert (heights[0], heights[-1]) == (5, 14)


def test_picture_has_both_kinds_in_three_planes_and_a_plot_for_each_tissue_even_of_those_that_are_not_there(
    tmp_path, titles
):
    real, solid = volumes(0.0), volumes(30.0)
    real.images[0][LUNG] = solid.images[:] = 0.1
    draw_likeness(tmp_path / "a.png", measure(real), measure(solid), window_hu=WINDOW_HU, title="phantom cohort")
    assert is_drawn(tmp_path / "a.png")
    assert titles["a.png"] == [
        "phantom cohort",
        *(f"{name}, {plane}" for plane in ("axial", "coronal", "sagittal") for name in ("real", "synthetic")),
        "heart",
        "lung",
        "soft tissue",
        "bone",
    ]


def test_picture_by_region_has_rows_in_colours_and_a_legend(tmp_path, titles, legends):
    """A heart as a whole is not coloured as a ventricle."""
    real, synthetic = volumes(0.0, 20.0), volumes(0.0)
    ids = np.stack([HEART] * 2).astype(np.uint8)
    ids[0, 10:] *= MYOCARDIUM
    real, synthetic = (dataclasses.replace(one, regions=ids[: len(one)]) for one in (real, synthetic))
    draw_likeness(tmp_path / "a.png", measure(real), measure(synthetic), window_hu=WINDOW_HU, title="t")
    assert titles["a.png"][1:6] == [
        *("real, axial", "real, regions", "synthetic, axial", "synthetic, regions", "real, coronal"),
    ]
    assert legends["a.png"] == ["LV", "myo"]
    image = pixels(tmp_path / "a.png")
    grey = 0.5 * HU["heart"] / 1000 + 0.5
    by_region = {
        region: np.argwhere(np.abs(image - 0.4 * 255 * grey - 0.6 * np.array(REGIONS[region].rgb)).max(axis=-1) < 6)
        for region in (LV, MYOCARDIUM)
    }
    rows = {region: set((8 * found[:, 0] / (0.857 * len(image))).astype(int)) for region, found in by_region.items()}
    assert rows == {LV: {1, 3}, MYOCARDIUM: {1, 3}}
    columns = 8 * by_region[LV][by_region[LV][:, 0] < len(image) / 4][:, 1] / image.shape[1]
    assert set(columns.astype(int)) <= {0, 1, 2, 3}  # slices of the first volume; the second one is a whole heart


def test_regions_are_tissues_too_where_labels_tell_them_apart():
    """The upper half of each heart is the wall, 100 HU darker in synthetic volumes; the last one is a whole heart."""
    real, synthetic = volumes(0.0, 20.0, 40.0), volumes(0.0)
    ids = np.stack([HEART] * 3).astype(np.uint8)
    ids[:2, 10:] *= MYOCARDIUM
    synthetic.images[0, 10:][HEART[10:]] -= 0.1
    real, synthetic = (dataclasses.replace(v, regions=ids[: len(v)]) for v in (real, synthetic))
    found = compare(real, synthetic).tissues
    assert list(found) == ["heart", "lung", "soft tissue", "bone", "LV", "myo"]
    assert found["myo"].real_mean_hu == pytest.approx(HU["heart"] + 10.0, abs=0.1)
    assert found["myo"].synthetic_mean_hu == pytest.approx(HU["heart"] - 100.0, abs=0.1)
    assert found["LV"].synthetic_mean_hu == pytest.approx(HU["heart"], abs=0.1)


def test_differences_lie_within_their_places():
    """Slices of the heart are twice as bright as the ones below and above them; the rest is flat."""
    real, striped = volumes(0.0, 0.0), volumes(0.0)
    bright = HEART & (np.arange(SIZE) % 2 == 0)[:, None, None]
    striped.images[0][bright] += 0.18
    found = compare(real, striped).differences
    assert list(found) == ["body", "heart", "lung"]
    assert found["heart"].real.first == pytest.approx((0.0, 0.0, 0.0))
    assert found["heart"].synthetic.first == pytest.approx((0.0, 0.0, 180.0), abs=1e-3)
    assert found["heart"].synthetic.second == pytest.approx((0.0, 0.0, 360.0), abs=1e-3)
    assert found["lung"].synthetic.first == pytest.approx((0.0, 0.0, 0.0), abs=1e-3)
    more = np.subtract(found["body"].synthetic.first, found["body"].real.first)
    pairs = BODY[1:] & BODY[:-1]
    assert more[2] == pytest.approx(180.0 * (HEART[1:] & HEART[:-1]).sum() / pairs.sum(), rel=0.3)


def test_a_set_like_itself_has_equal_measures():
    found = compare(volumes(0.0, 20.0), volumes(0.0, 20.0))
    assert set(found.differences) == {"body", "heart", "lung"}
    assert all(both.real == both.synthetic for both in found.differences.values())
    assert found.hearts.real == found.hearts.synthetic
    assert found.hearts.real.volume_ml == pytest.approx(HEART.sum() * 27.0 / 1000)
    assert (found.hearts.real.pair_dice, found.hearts.real.place_sd_mm) == (100.0, 0.0)
    assert found.novelty.sample_to_real_hu == 0.0


def test_without_two_hearts_of_a_kind_there_is_no_variety():
    assert compare(volumes(0.0, 20.0), volumes(0.0)).hearts is None
