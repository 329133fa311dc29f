"""Tables beyond the paper's, from records written here by hand: means worked out anew, missing parts as dashes."""

import numpy as np
import pytest

from fedsim_tf.evaluation import further_tables
from fedsim_tf.metrics import Agreement


def scores(dice, **likeness):
    found = {name: dice / (k + 1) for k, name in enumerate(Agreement._fields)}
    return {**found, "likeness": likeness} if likeness else found


def likeness(shift):
    return {
        "novelty": {"sample_to_real_hu": 100.0 + shift, "real_to_real_hu": 200.0, "closest_sample_hu": 90.0},
        "features": {"real_to_synthetic": 0.5 + shift, "real_to_real": 0.25},
        "tissues": {
            "heart": {
                "real_mean_hu": 150.0,
                "real_sd_hu": 50.0,
                "synthetic_mean_hu": 140.0 + shift,
                "synthetic_sd_hu": 40.0,
            }
        },
        "shape_modes": {kind: {"mean": [0.1 + shift, -0.2], "sd": [1.0, 0.5]} for kind in ("learnt", "sampled")},
    }


RUN = {
    "facts": {"experiment": "single_site", "labelled": 4},
    "folds": [
        {"ct20": {"lower_bound": scores(80.0), "ours_full": scores(90.0, **likeness(0.0))}},
        {"ct20": {"lower_bound": scores(84.0), "ours_full": scores(88.0, **likeness(2.0))}},
    ],
}


def visit(patients, hospital, *, labelled=6, rendered=70.0, scanned=60.0):
    arms = {"ours_full": {"dice": rendered + 5.0}, "lower_bound": {"dice": rendered}}  # as in files: by name
    seen = {arm: {"dice": scanned} for arm in arms}
    return {
        "facts": {
            "experiment": "out_of_distribution",
            "patients": patients,
            "hospital": hospital,
            "labelled": labelled,
        },
        "folds": [{"rendered": arms, "as scanned": seen}, {"rendered": arms, "as scanned": seen}],
    }


def rows(table):
    return {tuple(row[:3]): dict(zip(table.headings[3:], row[3:], strict=True)) for row in table.rows}


def test_measures_are_means_and_deviations_over_folds():
    row = rows(further_tables.measures([RUN]))["single site", "ct20 4", "Ours-Full"]
    for k, text in enumerate(row.values()):
        mean, spread = (float(part) for part in text.split(" ± "))
        values = np.array([90.0, 88.0]) / (k + 1)
        assert mean == pytest.approx(values.mean(), abs=0.006)
        assert spread == pytest.approx(values.std(ddof=1), abs=0.006)
    assert len(row) == len(Agreement._fields)


def test_quality_tables_show_arms_with_synthetic_volumes_alone():
    for table in (further_tables.novelty_table, further_tables.tissue_values, further_tables.shape_modes):
        assert {row[2] for row in table([RUN]).rows} == {"Ours-Full"}


def test_quality_tables_hold_means_over_folds_and_dashes_for_what_was_not_recorded():
    (near,) = rows(further_tables.novelty_table([RUN])).values()
    assert near["sample to nearest real, HU"] == "101"
    assert near["VGG features, real to synthetic"] == "1.5"
    assert near["closest real, HU"] == "-"
    (values,) = rows(further_tables.tissue_values([RUN])).values()
    assert values["heart, real, HU"] == "150, 50"
    assert values["heart, synthetic, HU"] == "141, 40"
    assert values["lung, real, HU"] == "-"
    table = further_tables.shape_modes([RUN], first=2)
    assert [row[3] for row in table.rows] == ["learnt", "sampled"]
    assert list(table.rows[0][4:]) == ["1.10, 1.00", "-0.20, 0.50"]


def test_visitors_have_a_row_for_each_arm():
    table = further_tables.visitors([visit("ct20", "ct34lc")])
    assert [row[:3] for row in table.rows] == [
        ["ct20", "ct34lc 6", "Lower bound (real labels only)"],
        ["ct20", "ct34lc 6", "Ours-Full"],
    ]
    assert table.rows[1][3:] == ["75.00 ± 0.00", "60.00 ± 0.00", "2"]


def test_across_sites_has_a_sites_own_score_with_as_many_labels_on_the_diagonal():
    other = {"facts": {**RUN["facts"], "labelled": 8}, "folds": [{"ct20": {"lower_bound": scores(99.0)}}]}
    visits = [visit("ct20", "ct34lc"), visit("ct34lc", "ct20", labelled=4, scanned=55.0)]
    for runs in ([RUN, other], [other, RUN]):
        table = further_tables.across_sites(runs, visits)
        assert table.headings[1:] == ("tested at ct20", "tested at ct34lc")
        assert table.rows == [["ct20 4", "82.00 ± 2.83", "55.00 ± 0.00"], ["ct34lc 6", "60.00 ± 0.00", "-"]]
    assert further_tables.across_sites([other], visits).rows[0][1] == "-"
