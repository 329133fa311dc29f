import numpy as np
import pytest

from fedsim_tf.data.labels import CANONICAL, CHD68, MMWHS, heart_mask, merge_masks
from tests.data.files_for_tests import refused


def test_mmwhs_values_become_region_ids():
    values = np.array([0, 500, 600, 420, 550, 205, 820, 850, 421])
    np.testing.assert_array_equal(MMWHS.apply(values, "label"), [0, 1, 2, 3, 4, 5, 6, 7, 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_mirrors_with_region_ids_pass_in_any_type(dtype):
    mapped = MMWHS.apply(np.arange(8, dtype=dtype).reshape(2, 2, 2), "label")
    assert mapped.dtype == np.uint8
    np.testing.assert_array_equal(mapped.ravel(), np.arange(8))


def test_unknown_mmwhs_values_are_listed():
    message = refused(lambda: MMWHS.apply(np.array([0, 500, 33, 7]), "a_label.nii.gz"), "a_label.nii.gz", "MM-WHS")
    assert "unknown label values 7, 33;" in message


def test_many_unknown_values_stay_one_short_line():
    message = refused(lambda: MMWHS.apply(np.arange(1000), "label"), "and ")
    assert len(message) < 300


def test_chd68_airways_and_others_are_background():
    np.testing.assert_array_equal(CHD68.apply(np.array([0, 1, 7, 8, 14, 255]), "label"), [0, 1, 7, 0, 0, 0])


def test_canonical_files_are_region_ids_or_binary():
    np.testing.assert_array_equal(CANONICAL.apply(np.array([0, 3, 7]), "label"), [0, 3, 7])
    np.testing.assert_array_equal(CANONICAL.apply(np.array([0, 255]), "label"), [0, 1])
    refused(lambda: CANONICAL.apply(np.array([0, 1, 8]), "mine.nii"), "mine.nii", "unknown label values 8")


def test_negative_and_far_apart_values():
    np.testing.assert_array_equal(CHD68.apply(np.array([-3, 5, 0]), "label"), [0, 5, 0])
    np.testing.assert_array_equal(CHD68.apply(np.array([-(2**40), 5, 0, 2**40]), "label"), [0, 5, 0, 0])
    refused(lambda: CANONICAL.apply(np.array([-1, 0, 5]), "label"), "-1")


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, 1e300])
def test_values_that_are_not_whole_numbers_are_refused(value):
    refused(lambda: CHD68.apply(np.array([0.0, 1.0, value]), "label.nii"), "label.nii", "whole numbers")


def test_the_lookup_agrees_with_a_plain_loop(rng):
    values = rng.choice([0, 500, 600, 420, 550, 205, 820, 850, 421], (5, 6, 7)).astype(np.int16)
    table = {0: 0, 500: 1, 600: 2, 420: 3, 550: 4, 205: 5, 820: 6, 850: 7, 421: 3}
    expected = [table[int(value)] for value in values.ravel()]
    np.testing.assert_array_equal(MMWHS.apply(values, "label").ravel(), expected)


def test_heart_is_every_region():
    np.testing.assert_array_equal(heart_mask(np.arange(8)), [False] + [True] * 7)


def test_masks_merge_and_the_higher_region_wins():
    masks = {5: np.array([1, 1, 0, 0]), 2: np.array([0, 255, 255, 0])}
    np.testing.assert_array_equal(merge_masks(masks), [5, 5, 2, 0])
