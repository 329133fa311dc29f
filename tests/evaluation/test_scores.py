import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.scores import score_segmenter
from fedsim_tf.metrics import Agreement
from fedsim_tf.records.fold_scores import ArmScores, summarize_folds
from tests.evaluation.pictures_for_tests import blocks, by_threshold
from tests.evaluation.records_for_tests import scores

NAMES = ("dice", "iou", "hd95_mm", "surface_mm", "volume_error")
DICE = {"lower_bound": [71.5, 80.25, 64.0, 90.0, 77.0], "ours_full": [88.0, 88.0, 91.0, 85.5, 79.0]}


EXTENTS_MM = np.array([[80.0, 40.0, 16.0], [8.0, 8.0, 8.0]])


def folds(n):
    return [{"ct20": {arm: scores(values[i]) for arm, values in DICE.items()}} for i in range(n)]


def test_a_perfect_segmenter_scores_one_hundred_on_every_case():
    perfect = (100.0, 100.0, 0.0, 0.0, 0.0)
    found = score_segmenter(by_threshold, blocks((1, 3), (2, 7)), EXTENTS_MM)
    assert found == ArmScores(*perfect, cases={"block_0": Agreement(*perfect), "block_1": Agreement(*perfect)})


def test_an_empty_true_mask_is_refused_and_never_scores_one_hundred():
    nothing = lambda image: np.zeros(image.shape, np.uint8)  # noqa: E731
    with pytest.raises(InputError, match="block_1: found a true mask without a heart"):
        score_segmenter(nothing, blocks((1, 3), (2, 2)), EXTENTS_MM)


def test_scores_are_the_mean_over_volumes_of_each_volumes_own():
    """A segmenter that always marks slices 0 to 3: half, then all of what it should."""

    def lower_half(image):
        mask = np.zeros(image.shape, np.uint8)
        mask[:4, 2:6, 2:6] = 1
        return mask

    found = score_segmenter(lower_half, blocks((2, 4), (0, 4)), EXTENTS_MM)
    first, second = (found.cases[f"block_{number}"] for number in range(2))
    assert first.dice == pytest.approx(100 * 2 * 32 / 96)
    assert first.iou == pytest.approx(50.0)
    assert first.volume_error == pytest.approx(100.0)
    assert first.hd95_mm == pytest.approx(4.0, abs=0.5)  # two slices of 2 mm
    assert second.dice == 100.0
    for name in NAMES:
        assert getattr(found, name) == pytest.approx(0.5 * (getattr(first, name) + getattr(second, name)))


def test_an_empty_mask_scores_nothing():
    found = score_segmenter(lambda image: np.zeros(image.shape, np.uint8), blocks((2, 4)), EXTENTS_MM[:1])
    assert found.dice == found.iou == 0.0
    assert found.hd95_mm == pytest.approx(np.linalg.norm(EXTENTS_MM[0]))


@pytest.mark.parametrize("n", [2, 5])
def test_folds_are_summarised_by_mean_and_sample_standard_deviation(n):
    summary = summarize_folds(folds(n))["ct20"]
    assert list(summary) == list(DICE)
    for arm, values in DICE.items():
        expected = {"folds": n}
        for k, name in enumerate(NAMES):
            expected |= {
                name: np.mean(values[:n]) / (k + 1),
                f"{name}_std": np.std(values[:n], ddof=1) / (k + 1),
            }
        assert summary[arm].to_json() == pytest.approx(expected)


def test_one_fold_has_no_standard_deviation():
    assert summarize_folds(folds(1))["ct20"]["lower_bound"].to_json() == pytest.approx(
        {"folds": 1, **{name: 71.5 / (k + 1) for k, name in enumerate(NAMES)}}
    )
