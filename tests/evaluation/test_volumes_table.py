"""The table of the volumes themselves, from records written here by hand."""

import dataclasses

import pytest

from fedsim_tf.evaluation.volumes_table import volumes_table
from fedsim_tf.records.likeness_record import (
    DifferenceComparison,
    Differences,
    FeatureDistances,
    HeartComparison,
    HeartVariety,
    Likeness,
    ModeWeights,
    Novelty,
    Pair,
    ShapeModes,
    TissueComparison,
)
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics
from tests.evaluation.records_for_tests import scores

LIKENESS = Likeness(
    tissues={
        "heart": TissueComparison(150.0, 140.0, 145.0, 66.0, 10.0, 124.0, 57.0),
        "LV": TissueComparison(330.0, 20.0, 250.0, 20.0, 80.0, 20.0, 10.0),
        "myo": TissueComparison(130.0, 20.0, 150.0, 20.0, 20.0, 20.0, 15.0),
    },
    differences={
        "lung": DifferenceComparison(
            Differences((1.0, 2.0, 45.0), (4.0, 5.0, 57.0)), Differences((7.0,) * 3, (19.0,) * 3)
        )
    },
    hearts=HeartComparison(HeartVariety(600.0, 0.18, 9.0, 12.0, 53.0), HeartVariety(620.0, 0.1, 6.0, 8.0, 67.0)),
    novelty=Novelty(120.0, 90.0, 200.0, 180.0),
    planes={"coronal": FeatureDistances(0.5, -0.25)},
    shape_modes=ShapeModes(ModeWeights((0.1, -0.2), (1.0, 0.5)), ModeWeights((0.0, 0.0), (0.9, 0.8))),
    upper_bound_dice=Pair(90.0, 87.5),
)
WORDS = {
    "first difference along z, lung, HU": "7 / 45 = 0.16",
    "second difference along z, lung, HU": "19 / 57 = 0.33",
    "second difference along x, lung, HU": "19 / 4 = 4.75",
    "mean, heart, HU": "145 / 150",
    "spread within a volume, heart, HU": "57 / 124 = 0.46",
    "spread within a volume, myo, HU": "15 / 20 = 0.75",
    "contrast LV to myo, HU": "100 / 200 = 0.50",
    "mean heart volume, ml": "620 / 600 = 1.03",
    "spread of heart volume, % of the mean": "10.0 / 18.0 = 0.56",
    "spread of the heart's place, mm": "6.0 / 9.0 = 0.67",
    "spread of the heart's long axis, degrees": "8.0 / 12.0 = 0.67",
    "Dice between two hearts, %": "67.0 / 53.0 = 1.26",
    "spread of shape mode 2, SD": "0.80 / 0.50 = 1.60",
    "kernel distance, coronal slices": "0.5 / -0.25",
    "mean distance to the nearest training volume, HU": "120 / 200 = 0.60",
    "smallest distance to a training volume, HU": "90 / 180 = 0.50",
    "Dice of the upper bound's network, %": "87.5 / 90.0 = 0.97",
}


def run(labels=4, kind="heart", **by_arm):
    """Return the results of a run, given the likeness in each fold of each arm."""
    folds = tuple(
        {"ct20": {"lower_bound": scores(80.0), **{arm: scores(85.0, likeness=one) for arm, one in fold.items()}}}
        for fold in (dict(zip(by_arm, likenesses, strict=True)) for likenesses in zip(*by_arm.values(), strict=True))
    )
    return RunMetrics(facts=RunFacts(data="d", experiment="single_site", labelled=labels, label_kind=kind), folds=folds)


def cells(table):
    """Return the words by data, measure and arm."""
    return {(*row[:2], arm): word for row in table.rows for arm, word in zip(table.headings[2:], row[2:], strict=True)}


@pytest.mark.parametrize("measure", list(WORDS))
def test_measures_are_synthetic_over_real_and_their_ratio(measure):
    assert cells(volumes_table([run(ours_full=[LIKENESS])]))["ct20 4", measure, "Ours-Full"] == WORDS[measure]


def test_measures_that_no_arm_has_have_no_rows():
    measures = [row[1] for row in volumes_table([run(ours_full=[LIKENESS])]).rows]
    assert len(measures) == len(set(measures)) == 6 + 2 * 3 + 1 + 5 + 2 + 1 + 2 + 1
    assert not any("body" in one or "bone" in one or "RV" in one or "axial" in one for one in measures)


def test_ratios_are_of_the_means_over_folds():
    other = dataclasses.replace(LIKENESS, novelty=Novelty(200.0, 90.0, 400.0, 180.0))
    found = cells(volumes_table([run(ours_full=[LIKENESS, other])]))
    assert found["ct20 4", "mean distance to the nearest training volume, HU", "Ours-Full"] == "160 / 300 = 0.53"


def test_arms_have_columns_in_the_order_of_the_tables_and_dashes_for_what_they_lack():
    less = Likeness(tissues=LIKENESS.tissues)
    table = volumes_table([run(ours_full=[LIKENESS], ours_fix_mat=[less]), run(labels=8, ours_full=[LIKENESS])])
    assert table.headings == ("data", "measure", "Ours-Fix-Mat", "Ours-Full")
    found = cells(table)
    assert found["ct20 4", "Dice between two hearts, %", "Ours-Fix-Mat"] == "-"
    assert found["ct20 4", "mean, heart, HU", "Ours-Fix-Mat"] == "145 / 150"
    assert found["ct20 8", "mean, heart, HU", "Ours-Fix-Mat"] == "-"
    assert found["ct20 8", "mean, heart, HU", "Ours-Full"] == "145 / 150"


def test_runs_of_both_kinds_of_labels_have_rows_of_their_own():
    other = dataclasses.replace(LIKENESS, novelty=Novelty(200.0, 90.0, 400.0, 180.0))
    found = cells(volumes_table([run(kind="regions", ours_full=[other]), run(ours_full=[LIKENESS])]))
    measure = "mean distance to the nearest training volume, HU"
    assert found["ct20 4", measure, "Ours-Full"] == WORDS[measure]
    assert found["ct20 4 by region", measure, "Ours-Full"] == "200 / 400 = 0.50"


def test_a_fold_without_a_measure_leaves_a_dash_and_runs_without_samples_no_table():
    less = dataclasses.replace(LIKENESS, novelty=None)
    found = cells(volumes_table([run(ours_full=[LIKENESS, less])]))
    assert ("ct20 4", "smallest distance to a training volume, HU", "Ours-Full") not in found
    assert found["ct20 4", "mean heart volume, ml", "Ours-Full"] == "620 / 600 = 1.03"
    assert volumes_table([run(ours_full=[None])]).rows == []
