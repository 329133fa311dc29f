"""Tissues of a chest made of boxes, their CT values, and the picture of both."""

import dataclasses

import numpy as np
import pytest

from fedsim_tf.evaluation.likeness import SHOWN, show_likeness, spread_slices
from fedsim_tf.evaluation.tissues import compare_tissues, tissue_masks, tissue_values_hu
from fedsim_tf.regions import LV, MYOCARDIUM, REGIONS
from fedsim_tf.training.volumes import Volumes
from tests.evaluation.pictures_for_tests import is_drawn, pixels

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


def test_air_couch_and_contrast_beside_the_heart_are_no_tissue():
    masks = tissue_masks(chest(), HEART)
    for name, expected in (("heart", HEART), ("lung", LUNG), ("bone", BONE)):
        np.testing.assert_array_equal(masks[name], expected)


def test_without_a_heart_all_that_is_dense_in_the_body_is_bone():
    image_hu = chest()
    image_hu[HEART] = HU["soft"]
    masks = tissue_masks(image_hu, np.zeros_like(image_hu))
    assert not masks["heart"].any()
    np.testing.assert_array_equal(masks["bone"], BONE | ARTERY)


def test_air_alone_has_no_tissue():
    masks = tissue_masks(np.full((4, 4, 4), -1000.0), np.zeros((4, 4, 4)))
    assert not any(mask.any() for mask in masks.values())


def test_values_are_those_of_all_volumes():
    values = tissue_values_hu(volumes(0.0, 20.0), WINDOW_HU)
    for tissue, mask in (("heart", HEART), ("lung", LUNG), ("bone", BONE)):
        expected = np.repeat([HU[tissue], HU[tissue] + 20.0], mask.sum())
        np.testing.assert_allclose(np.sort(values[tissue]), expected, atol=1e-3)


def test_distance_of_shifted_distributions_is_the_shift():
    compared = compare_tissues(*(tissue_values_hu(volumes(shift), WINDOW_HU) for shift in (0.0, 30.0)))
    assert set(compared) == {"heart", "lung", "bone"}
    for tissue, row in compared.items():
        assert row.distance_hu == pytest.approx(30.0, abs=1e-3)
        assert row.real_mean_hu == pytest.approx(HU[tissue], abs=1e-3)
        assert row.synthetic_mean_hu == pytest.approx(HU[tissue] + 30.0, abs=1e-3)
        assert row.real_sd_hu == pytest.approx(0.0, abs=1e-3)


def test_distance_sees_spread_where_means_agree():
    values = {"heart": np.array([-1.0, 1.0]), "lung": np.zeros(0), "bone": np.zeros(1)}
    compared = compare_tissues(values, {**values, "heart": np.array([-3.0, 3.0]), "lung": np.ones(1)})
    assert set(compared) == {"heart", "bone"}
    assert compared["heart"].distance_hu == pytest.approx(2.0)


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


def test_picture_has_both_rows_and_a_plot_for_each_tissue(tmp_path, titles):
    found = show_likeness(tmp_path / "a.png", volumes(0.0), volumes(30.0), window_hu=WINDOW_HU, title="phantom cohort")
    assert is_drawn(tmp_path / "a.png")
    assert titles["a.png"] == ["phantom cohort", "real", "synthetic", "heart", "lung", "bone"]
    assert found["heart"].distance_hu == pytest.approx(30.0, abs=1e-3)


def test_picture_by_region_has_rows_in_colours_and_a_legend(tmp_path, titles, legends):
    """A heart as a whole is not coloured as a ventricle."""
    real, synthetic = volumes(0.0, 20.0), volumes(0.0)
    ids = np.stack([HEART] * 2).astype(np.uint8)
    ids[0, 10:] *= MYOCARDIUM
    real, synthetic = (dataclasses.replace(one, regions=ids[: len(one)]) for one in (real, synthetic))
    show_likeness(tmp_path / "a.png", real, synthetic, window_hu=WINDOW_HU, title="t")
    assert titles["a.png"][1:5] == ["real", "real, regions", "synthetic", "synthetic, regions"]
    assert legends["a.png"] == ["LV", "myo"]
    image = pixels(tmp_path / "a.png")
    grey = 0.5 * HU["heart"] / 1000 + 0.5
    by_region = {
        region: np.argwhere(np.abs(image - 0.4 * 255 * grey - 0.6 * np.array(REGIONS[region].rgb)).max(axis=-1) < 6)
        for region in (LV, MYOCARDIUM)
    }
    rows = {region: set((4 * found[:, 0] / (0.74 * len(image))).astype(int)) for region, found in by_region.items()}
    assert rows == {LV: {1, 3}, MYOCARDIUM: {1, 3}}
    columns = 8 * by_region[LV][by_region[LV][:, 0] < len(image) / 2][:, 1] / image.shape[1]
    assert set(columns.astype(int)) <= {0, 1, 2, 3}  # slices of the first volume; the second one is a whole heart


def test_regions_are_tissues_too_where_labels_tell_them_apart():
    """The upper half of each heart is the wall, 100 HU darker in synthetic volumes; the last one is a whole heart."""
    real, synthetic = volumes(0.0, 20.0, 40.0), volumes(0.0)
    ids = np.stack([HEART] * 3).astype(np.uint8)
    ids[:2, 10:] *= MYOCARDIUM
    synthetic.images[0, 10:][HEART[10:]] -= 0.1
    real, synthetic = (dataclasses.replace(v, regions=ids[: len(v)]) for v in (real, synthetic))
    found = compare_tissues(*(tissue_values_hu(v, WINDOW_HU) for v in (real, synthetic)))
    assert list(found) == ["heart", "lung", "bone", "LV", "myo"]
    assert found["myo"].real_mean_hu == pytest.approx(HU["heart"] + 10.0, abs=0.1)
    assert found["myo"].synthetic_mean_hu == pytest.approx(HU["heart"] - 100.0, abs=0.1)
    assert found["LV"].synthetic_mean_hu == pytest.approx(HU["heart"], abs=0.1)
