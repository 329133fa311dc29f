import numpy as np
import pytest

from fedsim_tf.evaluation.scores import over_folds, score
from tests.evaluation.pictures_for_tests import blocks, by_threshold

DICE = {"lower_bound": [71.5, 80.25, 64.0, 90.0, 77.0], "ours_full": [88.0, 88.0, 91.0, 85.5, 79.0]}


def folds(n):
    return [
        {arm: {"dice": values[i], "iou": values[i] / 2, "cases": {}} for arm, values in DICE.items()} for i in range(n)
    ]


def test_a_perfect_segmenter_scores_one_hundred_on_every_case():
    found = score(by_threshold, blocks((1, 3), (2, 7)))
    assert found == {
        "dice": 100.0,
        "iou": 100.0,
        "cases": {"block_0": {"dice": 100.0, "iou": 100.0}, "block_1": {"dice": 100.0, "iou": 100.0}},
    }


def test_scores_are_the_mean_over_volumes_of_each_volumes_own_overlap():
    """A segmenter that always marks slices 0 to 3: half, then all of what it should."""

    def lower_half(image):
        mask = np.zeros(image.shape, np.uint8)
        mask[:4, 2:6, 2:6] = 1
        return mask

    found = score(lower_half, blocks((2, 4), (0, 4)))
    assert found["cases"]["block_0"] == pytest.approx({"dice": 100 * 2 * 32 / 96, "iou": 50.0})
    assert found["cases"]["block_1"] == pytest.approx({"dice": 100.0, "iou": 100.0})
    assert found["dice"] == pytest.approx((200 / 3 + 100) / 2)
    assert found["iou"] == pytest.approx(75.0)


def test_an_empty_mask_scores_nothing():
    found = score(lambda image: np.zeros(image.shape, np.uint8), blocks((2, 4)))
    assert found["dice"] == found["iou"] == 0.0


@pytest.mark.parametrize("n", [2, 5])
def test_folds_are_summarised_by_mean_and_sample_standard_deviation(n):
    summary = over_folds(folds(n))
    assert list(summary) == list(DICE)
    for arm, values in DICE.items():
        expected = {
            "folds": n,
            "dice": np.mean(values[:n]),
            "dice_std": np.std(values[:n], ddof=1),
            "iou": np.mean(values[:n]) / 2,
            "iou_std": np.std(values[:n], ddof=1) / 2,
        }
        assert summary[arm] == pytest.approx(expected)


def test_one_fold_has_no_standard_deviation():
    assert over_folds(folds(1))["lower_bound"] == {"folds": 1, "dice": 71.5, "iou": 35.75}
