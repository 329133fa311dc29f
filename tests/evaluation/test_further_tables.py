"""Tables beyond the paper's, from records written here by hand: means worked out anew, missing parts as dashes."""

import numpy as np
import pytest

from fedsim_tf.evaluation import further_tables
from fedsim_tf.metrics import MEASURES
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics, VisitFacts, VisitMetrics
from tests.evaluation.records_for_tests import record, scores


def run():
    folds = tuple(
        {"ct20": {"lower_bound": scores(lower), "ours_full": scores(full)}}
        for lower, full in zip((80.0, 84.0), (90.0, 88.0), strict=True)
    )
    return RunMetrics(facts=RunFacts(data="d", experiment="single_site", labelled=4), folds=folds)


RUN = run()


def visit(patients, hospital, *, labelled=6, rendered=70.0, scanned=60.0, label_kind="heart"):
    arms = {"ours_full": scores(rendered + 5.0), "lower_bound": scores(rendered)}
    fold = {"rendered": arms, "as scanned": dict.fromkeys(arms, scores(scanned))}
    facts = VisitFacts(patients=patients, hospital=hospital, data="d", labelled=labelled, label_kind=label_kind)
    return VisitMetrics(facts=facts, folds=(fold, fold))


def rows(table):
    return {tuple(row[:3]): dict(zip(table.headings[3:], row[3:], strict=True)) for row in table.rows}


def test_measures_are_means_and_deviations_over_folds():
    row = rows(further_tables.measures([RUN]))["single site", "ct20 4", "Ours-Full"]
    for k, text in enumerate(row.values()):
        mean, spread = (float(part) for part in text.split(" ± "))
        values = np.array([90.0, 88.0]) / (k + 1)
        assert mean == pytest.approx(values.mean(), abs=0.006)
        assert spread == pytest.approx(values.std(ddof=1), abs=0.006)
    assert len(row) == len(MEASURES)


def test_visitors_have_a_row_for_each_arm():
    table = further_tables.visitors([visit("ct20", "ct34lc")])
    assert [row[:3] for row in table.rows] == [
        ["ct20", "ct34lc 6", "Lower bound (real labels only)"],
        ["ct20", "ct34lc 6", "Ours-Full"],
    ]
    assert table.rows[1][3:] == ["75.00 ± 0.00", "60.00 ± 0.00", "2"]


def test_across_sites_has_a_sites_own_score_with_as_many_labels_on_the_diagonal():
    other = record("single_site", 8, lower_bound=(99.0,))
    visits = [visit("ct20", "ct34lc"), visit("ct34lc", "ct20", labelled=4, scanned=55.0)]
    for runs in ([RUN, other], [other, RUN]):
        table = further_tables.across_sites(runs, visits)
        assert table.headings[1:] == ("tested at ct20", "tested at ct34lc")
        assert table.rows == [["ct20 4", "82.00 ± 2.83", "55.00 ± 0.00"], ["ct34lc 6", "60.00 ± 0.00", "-"]]
    assert further_tables.across_sites([other], visits).rows[0][1] == "-"


def test_visitors_of_networks_by_region_have_rows_of_their_own():
    regions = record("single_site", 4, facts={"label_kind": "regions"}, lower_bound=(75.0,))
    visits = [
        visit("ct34lc", "ct20", labelled=4),
        visit("ct34lc", "ct20", labelled=4, scanned=50.0, label_kind="regions"),
    ]
    assert [row[1] for row in further_tables.visitors(visits).rows] == 2 * ["ct20 4"] + 2 * ["ct20 4 by region"]
    assert further_tables.across_sites([RUN, regions], visits).rows == [
        ["ct20 4", "82.00 ± 2.83", "60.00 ± 0.00"],
        ["ct20 4 by region", "75.00", "50.00 ± 0.00"],
    ]


def test_regions_have_a_column_each_and_runs_without_regions_no_row():
    by_region = [{"LV": 80.0, "myo": 60.0}, {"LV": 90.0, "myo": 64.0, "PA": 30.0}]
    folds = tuple({"ct20": {"ours_full": scores(85.0, regions=one), "lower_bound": scores(70.0)}} for one in by_region)
    other = RunMetrics(facts=RunFacts(data="d", experiment="single_site", labelled=8), folds=folds)
    table = further_tables.regions_table([RUN, other])
    assert table.headings[3:] == (*(f"{name}, Dice %" for name in ("LV", "RV", "LA", "RA", "myo", "ao", "PA")), "mean")
    (row,) = table.rows
    spread = [np.std(values, ddof=1) for values in ((80.0, 90.0), (60.0, 64.0))]
    assert row == [
        *("single site", "ct20 8", "Ours-Full"),
        *(f"85.00 ± {spread[0]:.2f}", "-", "-", "-", f"62.00 ± {spread[1]:.2f}", "-", "30.00"),
        f"{(85 + 62 + 30) / 3:.2f}",
    ]
    (distances,) = further_tables.regions_table([other], "hd95_mm").rows
    assert distances[9] == f"{30 / 3:.2f}"
