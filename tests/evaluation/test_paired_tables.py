"""Paired tests between arms: numbers against SciPy, the right partners, and folds that have none left out."""

import numpy as np
from scipy import stats

from fedsim_tf.arms import ARMS
from fedsim_tf.evaluation.comparison import collect_scores
from fedsim_tf.evaluation.paired_tables import (
    AGAINST_LOWER_BOUND,
    AMONG_TABLE_2,
    AMONG_TABLE_3,
    compare_at_each_site,
    compare_kinds_at_each_site,
    compare_kinds_over_all_sites,
    compare_over_all_sites,
)
from tests.evaluation.records_for_tests import FULL, LOWER, RECORDS, record

FULL_LESS_LOWER = ["Ours-Full", ARMS["lower_bound"].title]


def test_arms_are_tested_against_the_lower_bound_of_their_own_experiment():
    rows = [
        row for row in compare_at_each_site(collect_scores(RECORDS), AGAINST_LOWER_BOUND).rows if row[0] == "federated"
    ]
    assert [[row[1], row[2], *row[4:]] for row in rows] == [
        ["ct20 8", "Direct-FL", "+5.00", "-", "-", "1"],
        ["ct34lc 12", "Direct-FL", "+5.00", "-", "-", "1"],
    ]
    (row,) = compare_at_each_site(collect_scores(RECORDS[:1]), AGAINST_LOWER_BOUND).rows
    assert row[2:4] == FULL_LESS_LOWER
    assert row[4] == f"{np.mean(FULL) - np.mean(LOWER):+.2f}"
    assert row[5] == f"{stats.ttest_rel(FULL, LOWER).pvalue:.3f}"


def test_federated_arms_without_a_lower_bound_of_their_own_are_tested_against_the_single_sites():
    federated = record("federated", {"ct20": 4}, direct_fl=(85.0, 86.0, 90.0))
    table = compare_at_each_site(collect_scores([RECORDS[0], federated]), AGAINST_LOWER_BOUND)
    (row,) = [row for row in table.rows if row[0] == "federated"]
    assert row[2] == "Direct-FL"
    assert row[4] == f"{87.0 - np.mean(LOWER):+.2f}"


def test_the_upper_bound_is_tested_in_both_columns_of_its_data_set():
    upper, lower = (90.0, 92.0, 93.0), (80.0, 81.0, 84.0)
    records = [record("single_site", 4, upper_bound=upper), record("single_site", 8, lower_bound=lower)]
    (row,) = compare_at_each_site(collect_scores(records), AGAINST_LOWER_BOUND).rows
    assert row[1:3] == ["ct20 8", ARMS["upper_bound"].title]
    assert row[5] == f"{stats.ttest_rel(upper, lower).pvalue:.3f}"


def test_the_ablations_winner_is_tested_against_each_other_row():
    arms = {"random_shape": LOWER, "poisson_blend": (75.0, 77.0, 80.0), "fix_mat_alone": FULL}
    table = compare_at_each_site(collect_scores([record("single_site", 4, lower_bound=LOWER, **arms)]), AMONG_TABLE_2)
    p = {(row[2], row[3]): row[5] for row in table.rows}
    for first, second in (
        ("poisson_blend", "random_shape"),
        ("fix_mat_alone", "random_shape"),
        ("fix_mat_alone", "poisson_blend"),
    ):
        expected = f"{stats.ttest_rel(arms[first], arms[second]).pvalue:.3f}"
        assert p.pop((ARMS[first].title, ARMS[second].title)) == expected
    assert not p


def test_pairs_of_which_one_is_missing_have_no_row():
    assert compare_at_each_site(collect_scores(RECORDS), AMONG_TABLE_3).rows == []


def test_data_sets_are_taken_together_by_the_papers_numbers_of_labels():
    other = {"lower_bound": (70.0, 72.0), "ours_full": (75.0, 71.0, 99.0)}  # the third fold has no partner
    at_ct34lc = record("single_site", {"ct34lc": 6}, **other)
    alone = record("single_site", {"ct34mc": 12}, lower_bound=LOWER, ours_full=FULL)
    (row,) = compare_over_all_sites(collect_scores([RECORDS[0], at_ct34lc, alone]), AGAINST_LOWER_BOUND).rows
    first, second = (*FULL, 75.0, 71.0), (*LOWER, 70.0, 72.0)
    assert row[:4] == ["single site", "fewer labels, 2 data sets", *FULL_LESS_LOWER]
    assert row[4] == f"{np.mean(first) - np.mean(second):+.2f}"
    assert row[5] == f"{stats.ttest_rel(first, second).pvalue:.3f}"
    assert row[7] == "5"


def test_arms_are_tested_against_arms_of_their_own_kind_of_labels():
    regions = record(
        "single_site", 4, facts={"label_kind": "regions"}, lower_bound=(60.0, 61.0), ours_full=(65.0, 70.0)
    )
    table = compare_at_each_site(collect_scores([RECORDS[0], regions]), AGAINST_LOWER_BOUND)
    assert [(row[1], row[4]) for row in table.rows] == [
        ("ct20 4", f"{np.mean(FULL) - np.mean(LOWER):+.2f}"),
        ("ct20 4 by region", "+7.00"),
    ]


def test_regions_are_tested_against_the_heart_of_the_same_folds_and_seed():
    def by_region(seed=None, site="ct20", labels=4, **arms):
        return record("single_site", {site: labels}, facts={"label_kind": "regions", "seed": seed}, **arms)

    found = (81.0, 82.0, 88.5, 99.0)  # the fourth fold has no partner
    records = [*RECORDS, by_region(ours_full=found, ours_pre=found), by_region(seed=1, lower_bound=LOWER)]
    (row,) = compare_kinds_at_each_site(records).rows
    assert row[:4] == ["single site", "ct20 4", "Ours-Full by region", "Ours-Full"]
    assert row[4] == f"{np.mean(found[:3]) - np.mean(FULL):+.2f}"
    assert row[5] == f"{stats.ttest_rel(found[:3], FULL).pvalue:.3f}"
    assert row[7] == "3"
    assert compare_kinds_over_all_sites(records).rows == []
    other, theirs = (71.0, 72.5), (70.0, 74.0)
    records += [
        by_region(site="ct34lc", labels=6, ours_full=other),
        record("single_site", {"ct34lc": 6}, ours_full=theirs),
    ]
    (row,) = compare_kinds_over_all_sites(records).rows
    first, second = (*found[:3], *other), (*FULL, *theirs)
    assert row[:4] == ["single site", "fewer labels, 2 data sets", "Ours-Full by region", "Ours-Full"]
    assert row[4:6] == [f"{np.mean(first) - np.mean(second):+.2f}", f"{stats.ttest_rel(first, second).pvalue:.3f}"]


def test_a_p_that_three_digits_cannot_show_is_said_to_be_below_them():
    lower, full = np.linspace(80.0, 85.0, 9), np.linspace(83.0, 88.1, 9)
    (row,) = compare_at_each_site(
        collect_scores([record("single_site", 4, lower_bound=lower, ours_full=full)]), AGAINST_LOWER_BOUND
    ).rows
    assert stats.ttest_rel(full, lower).pvalue < 0.001
    assert row[5] == "< 0.001"
