"""Hearts alone, real beside synthetic: which greys they get, and where they are cut out."""

import dataclasses

import numpy as np
import pytest

from fedsim_tf.evaluation.heart_gallery import ROWS, heart_gallery
from fedsim_tf.regions import LV, MYOCARDIUM
from fedsim_tf.training.volumes import Volumes
from tests.evaluation.pictures_for_tests import is_drawn, pixels, share_of

WINDOW_HU = (-1000.0, 1000.0)
MUSCLE_HU, BLOOD_HU, LUNG_HU = 100.0, 300.0, -800.0
SIZE = 16


def chests(*corners):
    """Volumes of lung with a heart 4 voxels an edge from each corner on: the lower half muscle, the upper one blood."""
    images = np.full((len(corners), SIZE, SIZE, SIZE), LUNG_HU / 1000.0, np.float32)
    ids = np.zeros(images.shape, np.uint8)
    for image, label, (z, y, x) in zip(images, ids, corners, strict=True):
        label[z : z + 4, y : y + 2, x : x + 4], label[z : z + 4, y + 2 : y + 4, x : x + 4] = LV, MYOCARDIUM
        image[label == LV], image[label == MYOCARDIUM] = BLOOD_HU / 1000.0, MUSCLE_HU / 1000.0
    return Volumes(tuple(map(str, corners)), images, (ids > 0).astype(np.float32), regions=ids)


def binary(volumes):
    return dataclasses.replace(volumes, regions=None)


def test_greys_reach_from_the_darkest_to_the_brightest_of_real_hearts(tmp_path, titles):
    real, synthetic = chests((2, 2, 2)), chests((8, 8, 8))
    synthetic.images[0] *= 0.5  # half as much contrast: from 50 to 150 HU
    heart_gallery(
        tmp_path / "a.png", binary(real), binary(synthetic), window_hu=WINDOW_HU, title="Hearts, phantom cohort"
    )
    title, *heads = titles["a.png"]
    assert title == "Hearts, phantom cohort: hearts, black at 100 HU and below, white at 300 HU and above"
    assert heads[::4] == ["real, axial", "synthetic, axial"]
    left, right = np.split(pixels(tmp_path / "a.png")[40:], 2, axis=1)
    assert share_of(left, 255, 255, 255) > 0.1  # blood
    assert share_of(left, 0, 0, 0) > 0.3
    assert share_of(right, 64, 64, 64) > 0.1  # blood of 150 HU is a quarter of the way up


@pytest.mark.parametrize("corner", [(0, 0, 0), (12, 12, 12), (5, 9, 1)])
def test_a_heart_lies_in_the_middle_wherever_it_is_in_the_chest(tmp_path, corner):
    wanted, found = tmp_path / "wanted.png", tmp_path / "found.png"
    for path, real in ((wanted, chests((6, 6, 6))), (found, chests(corner))):
        heart_gallery(path, real, chests((6, 6, 6)), window_hu=WINDOW_HU, title="t")
    np.testing.assert_array_equal(pixels(found), pixels(wanted))


def test_regions_are_in_colours_with_a_legend(tmp_path, legends):
    heart_gallery(tmp_path / "a.png", chests((2, 2, 2)), chests((8, 8, 8)), window_hu=WINDOW_HU, title="t")
    assert legends["a.png"] == ["LV", "myo"]
    assert is_drawn(tmp_path / "a.png")


def test_volumes_without_a_heart_are_left_out_and_rows_are_few(tmp_path):
    real = chests(*[(2, 2, 2)] * (ROWS + 3))
    real.regions[1] = real.labels[1] = 0
    for count in (1, ROWS, ROWS + 1):
        heart_gallery(tmp_path / f"{count}.png", real, chests(*[(2, 2, 2)] * count), window_hu=WINDOW_HU, title="t")
    one, most, more = (pixels(tmp_path / f"{count}.png").shape[0] for count in (1, ROWS, ROWS + 1))
    assert one < most == more
    synthetic = chests((2, 2, 2))
    synthetic.regions[:] = synthetic.labels[:] = 0
    heart_gallery(tmp_path / "none.png", real, synthetic, window_hu=WINDOW_HU, title="t")
    assert not (tmp_path / "none.png").exists()
