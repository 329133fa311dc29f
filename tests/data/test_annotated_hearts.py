"""Odd hearts: balls of known volume, and islands at known distances."""

import numpy as np
import pytest

from fedsim_tf.data.annotated_hearts import check_odd_heart, find_islands
from fedsim_tf.volume import Geometry, Volume
from tests.data.files_for_tests import refused


def ball(shape=(60, 60, 60), centre=(20, 30, 30), radius=12) -> np.ndarray:
    squared = sum((axis - c) ** 2 for axis, c in zip(np.indices(shape), centre, strict=True))
    return (squared < radius**2).astype(np.uint8)


def label(array: np.ndarray, mm: float = 3.0) -> Volume:
    return Volume(array, Geometry((mm, mm, mm)))


@pytest.mark.parametrize(("mm", "ml"), [(3.0, None), (1.0, "8"), (8.0, "4.1e+03")])
def test_impossible_volumes_are_warned_of(mm, ml, caplog):
    """A cube of 20 voxels an edge."""
    cube = np.zeros((60, 60, 60), np.uint8)
    cube[10:30, 10:30, 10:30] = 1
    check_odd_heart(label(cube, mm), "heart.nii")
    assert (f"heart.nii: a heart of {ml} ml; 20 to 3000 ml are usual" in caplog.text) if ml else caplog.text == ""
    caplog.clear()
    check_odd_heart(label(cube, mm), "heart.nii", any_extent=True)
    assert caplog.text == ""
    impossible = label(cube, 10 * mm if mm > 1 else 0.1)
    refused(lambda: check_odd_heart(impossible, "heart.nii"), "heart.nii: found a heart of", "of 5 to 6000 ml")
    check_odd_heart(impossible, "heart.nii", any_extent=True)


def test_islands_far_from_the_heart_are_counted_and_measured():
    array = ball()
    array[50, 30, 30] = array[55, 30, 30:33] = 1  # the ball ends at 31: 19 and 24 voxels of 3 mm away
    assert find_islands(label(array)) == (2, 4, 72.0)


def test_neighbouring_and_large_pieces_are_no_islands():
    array = ball()
    array[33, 30, 30] = 1  # 6 mm away
    array[50:56, 26:32, 26:32] = 1  # an aorta: 216 of 7000 voxels
    assert find_islands(label(array)) == (0, 0, 0.0)
    assert find_islands(label(ball())) == (0, 0, 0.0)


def test_islands_of_fine_cts_are_found_to_a_block():
    """Blocks of 3 voxels: an axis of 300 voxels has 100 of them."""
    array = np.zeros((300, 60, 60), np.uint8)
    array[:60] = ball()
    array[290, 30, 30] = 1
    islands, voxels, mm = find_islands(label(array, 0.5))
    assert (islands, voxels) == (1, 1)
    assert mm == pytest.approx((290 - 31) * 0.5, abs=2 * 3 * 0.5)


def test_an_island_is_named_in_the_log(caplog):
    array = ball()
    array[55, 30, 30] = 1
    check_odd_heart(label(array), "heart.nii")
    assert "heart.nii: 1 stray islands with 1 voxels in all lie up to 72 mm away from the heart" in caplog.text
