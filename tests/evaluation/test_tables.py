"""Tables of recorded metrics: numbers against SciPy and the paper's text, and what is missing stays missing."""

import csv
import io
import math

import numpy as np
import pytest
from scipy import stats

from fedsim_tf.arms import ABLATION, ARMS
from fedsim_tf.data.splits import SplitSizes
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation import paper
from fedsim_tf.evaluation.comparison import Cell, collect_scores, paired_test
from fedsim_tf.evaluation.tables import format_table, table_1, table_2, table_3, table_3_differences
from tests.evaluation.records_for_tests import FULL, LOWER, RECORDS, record

BOLD = {
    "single_site": ["ours_full", "ours_full", "ours_pre", "ours_full", "ours_pre", "ours_full"],
    "federated": ["direct_fl", "ours_sim_fl", "direct_fl", "ours_sim_fl", "ours_sim_fl", "ours_sim_fl"],
}
# Of a row's six means and standard deviations; the upper bound has three, each of which stands in two columns.
PRINTED_SUMS = [
    (516.47, 15.11),
    (518.88, 17.05),
    (525.36, 12.19),
    (525.15, 13.75),
    (2 * 264.32, 2 * 6.75),
    (538.01, 10.27),
    (537.23, 10.51),
]


def test_scores_are_collected_by_experiment_arm_site_and_labels():
    cells = collect_scores(RECORDS)
    assert cells[Cell("single_site", "ours_full", "ct20", 4)] == list(FULL)
    assert cells[Cell("federated", "direct_fl", "ct34lc", 12)] == [90.0]
    assert len(cells) == 7
    assert collect_scores(RECORDS, measure="hd95_mm")[Cell("federated", "direct_fl", "ct20", 8)] == [30.0]


def test_cells_come_in_the_order_of_the_tables():
    records = [record("federated", {"ct20": 8}, direct_fl=(1.0,)), record("single_site", 8, lower_bound=(1.0,))]
    records.append(record("single_site", 4, upper_bound=(1.0,), ours_full=(1.0,), lower_bound=(1.0,)))
    order = [(cell.labels, cell.arm) for cell in collect_scores(records)]
    assert order == [(4, "lower_bound"), (4, "ours_full"), (4, "upper_bound"), (8, "lower_bound"), (8, "direct_fl")]


def test_records_that_disagree_are_refused():
    with pytest.raises(InputError, match="two runs with other scores of ours_full, single_site, ct20 with 4 labels"):
        collect_scores([RECORDS[0], record("single_site", 4, ours_full=(1.0,))])
    assert collect_scores([RECORDS[0], RECORDS[0]]) == collect_scores(RECORDS[:1])


BY_REGION = record(
    "single_site", 4, facts={"label_kind": "regions"}, ours_full=(70.0, 71.0, 75.0), random_shape=(65.0, 66.0, 67.0)
)


def test_runs_by_region_have_cells_of_their_own():
    cells = collect_scores([*RECORDS, BY_REGION])
    assert cells[Cell("single_site", "ours_full", "ct20", 4, "regions")] == [70.0, 71.0, 75.0]
    assert {cell: one for cell, one in cells.items() if cell.label_kind == "heart"} == collect_scores(RECORDS)
    with pytest.raises(InputError, match="other scores of ours_full, single_site, ct20 with 4 labels by region"):
        collect_scores([BY_REGION, record("single_site", 4, facts={"label_kind": "regions"}, ours_full=(1.0,))])


def test_both_kinds_of_labels_stand_in_the_papers_tables():
    cells = collect_scores([*RECORDS, BY_REGION])
    table, alone = table_3(cells), table_3(collect_scores(RECORDS))
    assert [row for row in table.rows if row[2] != "ours by region"] == alone.rows
    place = next(number for number, row in enumerate(table.rows) if row[1] == "Ours-Full")
    assert table.rows[place + 1][:5] == ["", "", "ours by region", f"72.00 ± {math.sqrt(7):.2f}", "-"]
    rows = {row[0]: row[1:] for row in table_2(cells).rows}
    assert rows["Random shape + GAN by region"] == ["66.00 ± 1.00", "67.07", "-1.07", "3"]
    assert len(rows) == 2 * len(ABLATION)
    rows = {row[1]: row[2:] for row in table_3_differences(cells).rows}
    assert rows["Ours-Full by region"][:2] == ["-16.95 (3)", "-"]
    assert rows["Ours-Full"][0] == f"{np.mean(FULL) - 88.95:+.2f} (3)"
    assert [row[2] for row in table_3(collect_scores([BY_REGION])).rows[:2]] == ["ours by region", "paper"]


def test_paired_test_is_scipys():
    found = paired_test(FULL, LOWER)
    assert found.p == pytest.approx(stats.ttest_rel(FULL, LOWER).pvalue)
    assert found.difference == pytest.approx(np.mean(FULL) - np.mean(LOWER))
    assert found.effect == pytest.approx(stats.ttest_rel(FULL, LOWER).statistic / math.sqrt(3))
    assert found.pairs == 3


def test_paired_test_of_one_fold_or_of_equal_scores():
    one = paired_test([90.0], [85.0])
    assert (one.pairs, one.difference) == (1, 5.0)
    assert math.isnan(one.p)
    assert paired_test(LOWER, LOWER) == (3, 0.0, 1.0, 0.0)
    assert paired_test([2.0, 3.0], [1.0, 2.0])[:3] == (2, 1.0, 0.0)


def test_published_numbers_belong_to_arms_and_columns():
    """Two cells looked up again; the methods in bold are their columns' largest; rows add up as the printed ones do."""
    assert set(paper.TABLE_2) == set(ABLATION)
    assert all(arm in ARMS for _, arm in paper.TABLE_3)
    assert all(tuple(row) == paper.COLUMNS for row in paper.TABLE_3.values())
    assert paper.TABLE_3["single_site", "ours_full"]["ct20", 8] == (91.39, 1.27)
    assert paper.TABLE_3["federated", "direct_fl"]["ct34mc", 12] == (87.29, 1.84)
    for experiment, winners in BOLD.items():
        rows = {arm: row for (kind, arm), row in paper.TABLE_3.items() if kind == experiment and arm != "upper_bound"}
        assert [max(rows, key=lambda arm: rows[arm][column]) for column in paper.COLUMNS] == winners
    sums = [tuple(sum(cell[k] for cell in row.values()) for k in (0, 1)) for row in paper.TABLE_3.values()]
    np.testing.assert_allclose(sums, PRINTED_SUMS, rtol=1e-9)


def test_table_3_has_ours_above_the_papers_and_dashes_where_nothing_ran():
    table = table_3(collect_scores(RECORDS))
    assert len(table.rows) == 2 * 7
    pairs = zip(table.rows[::2], table.rows[1::2], strict=True)
    by_row = {(row[0], row[1]): (row[3:], below[3:]) for row, below in pairs}
    ours, theirs = by_row["single site", "Ours-Full"]
    assert ours == [f"{np.mean(FULL):.2f} ± {np.std(FULL, ddof=1):.2f}", "-", "-", "-", "-", "-"]
    assert theirs[0] == "88.95 ± 2.97"
    assert by_row["federated", "Direct-FL"][0] == ["-", "90.00", "-", "90.00", "-", "-"]
    assert by_row["single site", "Ours-Pre"][0] == ["-"] * 6


def test_table_2_shows_the_difference_from_the_paper():
    rows = {row[0]: row[1:] for row in table_2(collect_scores(RECORDS)).rows}
    assert rows["Random shape + GAN + Poisson blend"] == ["76.00 ± 1.41", "76.44", "-0.44", "2"]
    assert rows["Random shape + GAN"] == ["-", "67.07", "-", "0"]
    scattered = collect_scores([record("single_site", 4, random_place=(60.0, 62.0))])
    assert table_2(scattered).rows[0] == [ARMS["random_place"].title, "61.00 ± 1.41", "-", "-", "2"]


def test_the_upper_bound_stands_in_both_columns_of_its_data_set():
    upper = record("single_site", 4, upper_bound=(90.0, 92.0))
    table = table_3(collect_scores([upper, record("single_site", 8, lower_bound=(80.0, 81.0))]))
    (row,) = [row for row in table.rows if row[1].startswith("Upper bound")]
    assert row[3:6] == ["91.00 ± 1.41", "91.00 ± 1.41", "-"]


def test_differences_from_the_paper_say_how_many_folds_they_are_of():
    (row,) = [row for row in table_3_differences(collect_scores(RECORDS)).rows if row[1] == "Ours-Full"]
    assert row[2:4] == [f"{np.mean(FULL) - 88.95:+.2f} (3)", "-"]


def test_captions_come_first_in_every_form():
    for kind, first in (("md", "About."), ("tex", "% About."), ("csv", "# About.")):
        assert format_table(table_2(collect_scores(RECORDS)), kind, "About.").splitlines()[0] == first


def test_table_1_is_the_splits_of_the_records():
    facts = {"split": {"ct20": SplitSizes(train=12, validation=4, test=4)}}
    table = table_1([record("single_site", 4, facts=facts, lower_bound=LOWER)])
    assert table.rows[0] == ["ct20", "12", "4", "4", "12 / 4 / 4"]
    assert table.rows[1][1:4] == ["-", "-", "-"]


def test_tables_format_table():
    table = table_2(collect_scores(RECORDS))
    rows = list(csv.reader(io.StringIO(format_table(table, "csv"))))
    assert rows == [list(table.headings), *[list(row) for row in table.rows]]
    lines = format_table(table, "md").splitlines()
    assert len(lines) == 2 + len(rows) - 1
    assert [cell.strip() for cell in lines[2].strip("|").split("|")] == list(table.rows[0])
    latex = format_table(table, "tex")
    assert latex.count(r"\\") == len(rows)
    assert r"\toprule" in latex
