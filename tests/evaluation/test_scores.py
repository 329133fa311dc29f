import dataclasses

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.scores import score_segmenter
from fedsim_tf.metrics import compare_masks
from fedsim_tf.records.fold_scores import RegionScores, summarize_folds
from fedsim_tf.regions import AORTA, LA, LV, MYOCARDIUM
from tests.evaluation.pictures_for_tests import blocks, by_threshold
from tests.evaluation.records_for_tests import scores

NAMES = ("dice", "iou", "hd95_mm", "surface_mm", "volume_error")
DICE = {"lower_bound": [71.5, 80.25, 64.0, 90.0, 77.0], "ours_full": [88.0, 88.0, 91.0, 85.5, 79.0]}


AGREEMENT = (100.0, 100.0, 0.0, 0.0, 0.0)
EXTENTS_MM = np.array([[80.0, 40.0, 16.0], [8.0, 8.0, 8.0]])


def folds(n):
    return [{"ct20": {arm: scores(values[i]) for arm, values in DICE.items()}} for i in range(n)]


def test_a_perfect_segmenter_scores_one_hundred_on_every_case():
    perfect = (100.0, 100.0, 0.0, 0.0, 0.0)
    found = score_segmenter(by_threshold, blocks((1, 3), (2, 7)), EXTENTS_MM)
    assert dataclasses.astuple(found)[:5] == perfect
    assert {name: dataclasses.astuple(case)[:5] for name, case in found.cases.items()} == {
        "block_0": perfect,
        "block_1": perfect,
    }


def test_volumes_are_in_ml_and_their_error_has_a_sign():
    """A block of 4 x 4 of 8 x 8 voxels in some of 8 slices, in a field of view of 80 x 40 x 16 mm: 51.2 ml in all."""

    def two_slices(image):
        mask = np.zeros(image.shape, np.uint8)
        mask[1:3, 2:6, 2:6] = 1
        return mask

    found = score_segmenter(two_slices, blocks((1, 5)), EXTENTS_MM[:1]).cases["block_0"]
    assert found.found_ml == pytest.approx(51.2 * 2 / 8 * 16 / 64)
    assert found.true_ml == pytest.approx(51.2 * 4 / 8 * 16 / 64)
    assert found.error_ml == pytest.approx(-3.2)
    assert found.volume_error == pytest.approx(50.0)


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


def block_regions():
    """Three patients: the third has no left atrium, and nobody an aorta. Ids are painted into the images too."""
    volumes = blocks((1, 7), (1, 7), (1, 7))
    ids = (volumes.labels > 0).astype(np.uint8) * LV
    ids[:2, 4:7] *= LA
    ids[:, :, :, 5] *= MYOCARDIUM
    ids[ids > MYOCARDIUM] = MYOCARDIUM
    return dataclasses.replace(volumes, images=ids.astype(np.float32), regions=ids)


def reads_ids(image):
    return image.astype(np.uint8)


def test_regions_are_scored_over_the_volumes_that_have_them():
    """The atrium of the first patient is taken for a ventricle, that of the third one is missing, in truth too."""
    volumes = block_regions()
    volumes.images[0][volumes.images[0] == LA] = LV
    found = score_segmenter(reads_ids, volumes, np.full((3, 3), 8.0))
    assert found.dice == found.regions["myo"].dice == 100.0
    assert list(found.regions) == ["LV", "LA", "myo"]
    ventricles = found.regions["LV"]
    assert [one.dice for one in ventricles.cases.values()] == pytest.approx([100 * 2 * 3 / 9, 100.0, 100.0])
    assert ventricles.dice == pytest.approx(np.mean([100 * 2 * 3 / 9, 100.0, 100.0]))
    atria = found.regions["LA"]
    assert list(atria.cases) == ["block_0", "block_1"]
    assert (atria.dice, atria.cases["block_0"].hd95_mm) == (50.0, pytest.approx(np.linalg.norm([8, 8, 8])))
    first = compare_masks(volumes.images[0] == LV, volumes.regions[0] == LV, (1.0, 1.0, 1.0))
    assert ventricles.cases["block_0"] == first


def test_an_invented_region_counts_as_wrong_where_the_data_set_has_the_region_at_all():
    volumes = block_regions()
    volumes.images[2][5, 2:4, 2:4] = LA
    volumes.images[2][6, 2:4, 2:4] = AORTA  # of nobody's label
    found = score_segmenter(reads_ids, volumes, np.full((3, 3), 8.0))
    assert [one.dice for one in found.regions["LA"].cases.values()] == [100.0, 100.0, 0.0]
    assert "ao" not in found.regions


def test_hearts_as_a_whole_are_scored_as_such_among_others():
    volumes = block_regions()
    volumes.regions[1] = volumes.regions[1] > 0
    found = score_segmenter(reads_ids, volumes, np.full((3, 3), 8.0))
    assert list(found.cases) == ["block_0", "block_1", "block_2"]
    assert list(found.regions["LV"].cases) == ["block_0", "block_2"]
    whole = dataclasses.replace(volumes, regions=(volumes.regions > 0).astype(np.uint8))
    assert score_segmenter(reads_ids, whole, np.full((3, 3), 8.0)).regions is None


def test_labels_of_heart_or_not_have_no_scores_by_region():
    assert score_segmenter(by_threshold, blocks((1, 3)), EXTENTS_MM[:1]).regions is None


def test_regions_are_summarised_over_the_folds_that_have_them():
    def fold(**dice):
        regions = {name: RegionScores(value, *AGREEMENT[1:], cases={}) for name, value in dice.items()}
        return {"ct20": {"ours_full": dataclasses.replace(scores(80.0), regions=regions)}}

    row = summarize_folds([fold(PA=50.0, LV=80.0), fold(LV=90.0)])["ct20"]["ours_full"]
    assert list(row.regions) == ["LV", "PA"]
    assert (row.regions["LV"].mean.dice, row.regions["LV"].folds) == (85.0, 2)
    assert row.regions["LV"].std.dice == pytest.approx(np.std([80, 90], ddof=1))
    assert (row.regions["PA"].mean.dice, row.regions["PA"].folds, row.regions["PA"].std) == (50.0, 1, None)
