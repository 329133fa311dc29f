import base64
import dataclasses

import numpy as np
import pytest
from PIL import Image

from fedsim_tf.arms import ARMS
from fedsim_tf.data.splits import SplitSizes
from fedsim_tf.evaluation.report import PageLink, format_score, print_table, write_report
from fedsim_tf.evaluation.tables import Table
from fedsim_tf.metrics import Agreement
from fedsim_tf.records.fold_scores import ArmSummary
from fedsim_tf.records.run_metrics import RunFacts
from tests.evaluation.pages_for_tests import check_page


def agreement(dice, iou):
    return Agreement(dice, iou, 9.0, 2.0, 8.0)


SUMMARY = {
    "ct20": {
        "lower_bound": ArmSummary(5, agreement(71.234, 60.5), agreement(2.346, 1.0)),
        "ours_sim_fl": ArmSummary(5, agreement(88.777, 77.125), agreement(0.119, 3.0)),
    },
    "ct34lc": {"upper_bound": ArmSummary(1, agreement(91.0, 83.5), None)},
}
FACTS = RunFacts(data="phantom cohort (ct20)", experiment="single_site", labelled=4, seed=7)
STAGES = {
    "fold_0/pretraining": {
        "steps": 4321,
        "seconds": 12.5,
        "losses": {
            "iou": {"first": 0.98765, "last": 0.1234, "down": True},
            "mse": {"first": 0.5, "last": 0.625, "down": False},
        },
    },
    "fold_0/gan": {"steps": 8, "seconds": 1.0},
}
VOLUMES = Table(("data", "measure", "Ours-Full"), [["ct20 4", "mean, lung, HU", "-800 / -801"]])


def page(tmp_path, **changes):
    contents = {
        "title": "Single site: phantom cohort (ct20)",
        "facts": FACTS,
        "summary": SUMMARY,
        "volumes": VOLUMES,
        "is_phantom": True,
        "stages": STAGES,
        "pictures": [],
    }
    write_report(tmp_path / "report.html", **{**contents, **changes})
    return check_page(tmp_path / "report.html")


def test_report_shows_every_score_of_every_site_and_arm(tmp_path):
    rows = page(tmp_path).rows
    assert ["ct20", "Lower bound (real labels only)", "71.23 ± 2.35", "60.50 ± 1.00", "9.00 ± 9.00", "5"] in rows
    assert ["ct20", "Ours-Sim-FL", "88.78 ± 0.12", "77.12 ± 3.00", "9.00 ± 9.00", "5"] in rows
    assert ["ct34lc", "Upper bound (all labels)", "91.00", "83.50", "9.00", "1"] in rows


def test_report_shows_facts_and_stages(tmp_path):
    rows = page(tmp_path).rows
    assert ["data", "phantom cohort (ct20)"] in rows
    assert ["seed", "7"] in rows
    assert "vgg" not in {row[0] for row in rows}  # what is not known has no row
    assert ["fold_0/pretraining", "4321", "12 s", ""] in rows
    assert ["all 2 stages", "", "14 s", ""] in rows


def test_facts_are_words_and_no_dictionaries(tmp_path):
    facts = dataclasses.replace(
        FACTS,
        experiment="federated",
        labelled={"ct20": 4, "ct34lc": 6},
        split={"ct20": SplitSizes(12, 4, 4), "ct34lc": SplitSizes(20, 7, 7)},
    )
    rows = page(tmp_path, facts=facts).rows
    assert ["kind of run", "federated"] in rows
    assert ["annotated training volumes", "ct20: 4; ct34lc: 6"] in rows
    said = "ct20: 12 training, 4 validation, 4 test; ct34lc: 20 training, 7 validation, 7 test"
    assert ["volumes in each fold", said] in rows


def test_report_leads_to_every_page_and_to_its_arms(tmp_path):
    links = []
    for fold in range(2):
        file = tmp_path / f"fold_{fold}" / "report.html"
        file.parent.mkdir()
        file.write_text('<i id="arm-lower_bound"></i><i id="arm-ours_full"></i>')
        links.append(PageLink(f"fold_{fold}/report.html", f"fold {fold}, ct20", ("lower_bound", "ours_full")))
    found = page(tmp_path, links=links)
    assert found.links == [
        f"fold_{fold}/report.html{place}" for fold in range(2) for place in ("", "#arm-lower_bound", "#arm-ours_full")
    ]


def test_report_has_the_table_of_the_volumes_where_there_are_some(tmp_path):
    rows = page(tmp_path).rows
    assert rows[rows.index(list(VOLUMES.headings)) + 1] == list(VOLUMES.rows[0])
    assert not any("measure" in row for row in page(tmp_path, volumes=Table(VOLUMES.headings, [])).rows)


def test_report_says_phantom_in_its_titles(tmp_path):
    assert page(tmp_path).headings == ["Single site: phantom cohort (ct20)"] * 2


def test_report_holds_the_pictures_it_is_given_in_order(tmp_path):
    pictures = []
    for number in range(2):
        file = tmp_path / f"{number}.png"
        Image.fromarray(np.full((2, 2), number, np.uint8)).save(file)
        pictures.append((f"fold_{number}_losses", file))
    found = page(tmp_path, pictures=pictures)
    assert [base64.b64decode(one.partition(",")[2]) for one in found.sources] == [f.read_bytes() for _, f in pictures]
    assert found.ids.index("fold_0_losses") < found.ids.index("fold_1_losses")


def test_report_escapes_what_looks_like_html(tmp_path):
    """A folder, a site or a loss may be called anything; the parser gives back the very text and sees no new tag."""
    bad = "<script>alert('a & b')</script>"
    found = page(
        tmp_path,
        title=bad,
        facts=dataclasses.replace(FACTS, data=bad),
        summary={bad: SUMMARY["ct34lc"]},
        stages={bad: {"steps": 1, "seconds": 1}},
    )
    assert "script" not in found.tags
    assert found.headings == [bad, bad]
    assert ["data", bad] in found.rows
    assert [row[0] for row in found.rows].count(bad) == 2


def test_report_without_pictures_or_stages_is_still_a_page(tmp_path):
    found = page(tmp_path, stages={})
    assert found.sources == []
    assert {"html", "body", "table"} <= found.tags


def test_report_has_a_table_by_region_where_there_are_regions(tmp_path):
    regions = {
        "myo": ArmSummary(5, agreement(60.0, 50.0), agreement(1.5, 1.0)),
        "PA": ArmSummary(1, agreement(41.0, 30.0), None),
    }
    arms_by_region = {
        "lower_bound": dataclasses.replace(SUMMARY["ct20"]["lower_bound"], regions=regions),
        "ours_sim_fl": dataclasses.replace(SUMMARY["ct20"]["ours_sim_fl"], regions={"PA": regions["PA"]}),
    }
    rows = page(tmp_path, summary={"ct20": arms_by_region, "ct34lc": SUMMARY["ct34lc"]}).rows
    start = rows.index(["site", "arm", "myo", "PA", "mean"])
    assert rows[start + 1 : start + 3] == [
        ["ct20", "Lower bound (real labels only)", "60.00 ± 1.50", "41.00", "50.50"],
        ["ct20", "Ours-Sim-FL", "-", "41.00", "41.00"],
    ]


def test_report_has_no_regions_without_any(tmp_path):
    page(tmp_path)
    assert "by region" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_arm_has_a_name_of_its_own():
    assert len({arm.title for arm in ARMS.values()}) == len(ARMS)


@pytest.mark.parametrize(
    ("mean", "std", "expected"), [(87.654, 2.2, "87.65 ± 2.20"), (87.654, None, "87.65"), (50.0, 0.0, "50.00 ± 0.00")]
)
def test_numbers_have_two_digits_and_their_spread_where_there_is_one(mean, std, expected):
    row = ArmSummary(3, agreement(mean, 0.0), None if std is None else agreement(std, 0.0))
    assert format_score(row, "dice") == expected


@pytest.mark.parametrize("title", ["ct20 in /data/[v1]", "ct20 in /[bold]a[/bold]", "ct20 in /data/[/v1]:car:\\"])
def test_titles_on_the_terminal_are_not_taken_for_markup(capsys, monkeypatch, title):
    monkeypatch.setenv("COLUMNS", "160")
    print_table(title, SUMMARY)
    assert title in capsys.readouterr().out


def test_table_on_the_terminal_has_title_sites_arms_and_numbers(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    print_table("Single site: phantom cohort (ct20)", SUMMARY)
    lines = capsys.readouterr().out.splitlines()
    assert any("Single site: phantom cohort (ct20)" in line for line in lines)
    (ours,) = [line for line in lines if "Ours-Sim-FL" in line]
    for text in ("ct20", "88.78 ± 0.12", "77.12 ± 3.00", "5"):
        assert text in ours
    (upper,) = [line for line in lines if "Upper bound (all labels)" in line]
    assert "ct34lc" in upper
    assert "91.00" in upper
    assert "±" not in upper
