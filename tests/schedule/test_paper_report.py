"""Tables and Figure 3 on disk, from recorded metrics."""

import csv
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from fedsim_tf.arms import ARMS
from fedsim_tf.errors import InputError
from fedsim_tf.schedule.paper_report import draw_figure_3, write_schedule_page, write_tables
from tests.evaluation.pages_for_tests import check_page
from tests.evaluation.pictures_for_tests import is_drawn, pixels

DICE = {"lower_bound": (80.0, 84.0), "ours_full": (83.0, 85.0)}


RUNS_OF_THE_HEART = {"a": {}, "b": {"labelled": 8}, "c": {"site": "ct34lc", "labelled": 6}}
GOLDEN = pathlib.Path(__file__).with_name("tables_of_the_heart.md")
REGION = {"dice": 61.5, "iou": 50.0, "hd95_mm": 12.25, "surface_mm": 3.5, "volume_error": 9.0, "cases": {}}


def record(path, *, site="ct20", labelled=4, commit="abc", regions=None, **facts):
    folds = [
        {
            site: {
                arm: {"dice": v[k], "iou": 70.0, "hd95_mm": 9.0, "surface_mm": 2.0, "volume_error": 8.0, "cases": {}}
                | ({"regions": regions} if regions else {})
                for arm, v in DICE.items()
            }
        }
        for k in range(2)
    ]
    facts = {
        "experiment": "single_site",
        "data": f"phantom cohort ({site})",
        "labelled": labelled,
        "preset": "demo",
        "folds": 2,
        "commit": commit,
        "split": {site: {"train": 12, "validation": 4, "test": 4}},
        **facts,
    }
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"facts": facts, "folds": folds}))
    return path


def test_every_table_is_there_in_three_forms_and_on_one_page(tmp_path):
    files = {"a": record(tmp_path / "a" / "metrics.json"), "b": record(tmp_path / "b" / "metrics.json", labelled=8)}
    made = write_tables(tmp_path / "tables", files)
    page = (tmp_path / "tables" / "tables.md").read_text()
    for title in made:
        name = title.lower().replace(" ", "_")
        for kind in ("md", "csv", "tex"):
            text = (tmp_path / "tables" / f"{name}.{kind}").read_text()
            for said in (title, "phantom cohort (ct20)", "preset demo", "folds: 2", "code abc"):
                assert said in text.splitlines()[0]
        assert f"## {title}" in page


def test_tables_hold_the_records_numbers(tmp_path):
    write_tables(tmp_path / "tables", {"a": record(tmp_path / "a" / "metrics.json")})
    with open(tmp_path / "tables" / "table_3.csv", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[1] == "Ours-Full"]
    assert rows[0][3:5] == ["84.00 ± 1.41", "-"]
    with open(tmp_path / "tables" / "table_1.csv", encoding="utf-8") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file)}
    assert rows["ct20"] == ["12", "4", "4", "12 / 4 / 4"]
    assert rows["ct34lc"] == ["-", "-", "-", "20 / 7 / 7"]


def test_tables_of_the_heart_alone_are_to_the_letter_as_before_there_were_regions(tmp_path):
    """The pages were made by the code of before kinds of labels were recorded.

    Since then Table 2 has two rows more, and one table of volumes stands where three stood.
    """
    files = {name: record(tmp_path / name / "metrics.json", **facts) for name, facts in RUNS_OF_THE_HEART.items()}
    write_tables(tmp_path / "tables", files)
    assert (tmp_path / "tables" / "tables.md").read_text() == GOLDEN.read_text()


def test_runs_by_region_and_of_the_heart_stand_beside_each_other(tmp_path):
    files = {
        "heart": record(tmp_path / "heart" / "metrics.json", seed=0),
        "regions": record(tmp_path / "r" / "metrics.json", seed=0, label_kind="regions", regions={"myo": REGION}),
    }
    made = write_tables(tmp_path / "tables", files)
    place = next(number for number, row in enumerate(made["Table 3"].rows) if row[1] == "Ours-Full")
    assert [row[2:4] for row in made["Table 3"].rows[place : place + 3]] == [
        ["ours", "84.00 ± 1.41"],
        ["ours by region", "84.00 ± 1.41"],
        ["paper", "88.95 ± 2.97"],
    ]
    rows = made["Regions less the heart"].rows
    assert [row[1:5] for row in rows] == [
        ["ct20 4", f"{title} by region", title, "+0.00"] for title in (ARMS["lower_bound"].title, "Ours-Full")
    ]
    assert [row[1] for row in made["Dice by region"].rows] == ["ct20 4 by region"] * 2
    assert "Regions less the heart together" not in made  # one data set alone


def test_runs_by_region_have_tables_of_their_own(tmp_path):
    heart = record(tmp_path / "a" / "metrics.json")
    assert not [title for title in write_tables(tmp_path / "heart", {"a": heart}) if "by region" in title]
    files = {"a": heart, "b": record(tmp_path / "b" / "metrics.json", labelled=8, regions={"myo": REGION})}
    made = write_tables(tmp_path / "tables", files)
    found = {title: table.rows[0][7] for title, table in made.items() if title.endswith("by region")}
    assert found == {
        "Dice by region": "61.50 ± 0.00",
        "HD95 by region": "12.25 ± 0.00",
        "Surface distance by region": "3.50 ± 0.00",
    }
    (whole,) = [row for row in made["Table 3"].rows if row[:2] == ["single site", "Ours-Full"]]
    assert whole[3:5] == ["84.00 ± 1.41", "84.00 ± 1.41"]


def test_results_that_cannot_be_read_are_one_line(tmp_path):
    file = record(tmp_path / "a" / "metrics.json")
    file.write_text(file.read_text()[:100])
    with pytest.raises(InputError, match=r"metrics\.json: found damaged or incomplete JSON; expected a whole file: "):
        write_tables(tmp_path / "tables", {"a": file})


def test_without_any_run_tables_hold_the_paper_and_dashes(tmp_path):
    made = write_tables(tmp_path / "tables", {})
    assert len(made["Table 3"].rows) == 14
    assert "none yet" in (tmp_path / "tables" / "tables.md").read_text()


def test_figure_3_shows_the_sites_galleries_one_above_the_other(tmp_path):
    files = {}
    for number, name in enumerate(("single_site/ct20-4", "single_site/ct34lc-6", "federated/fewer")):
        picture = tmp_path / name / "fold_0" / "pictures" / "samples_ours_full.png"
        picture.parent.mkdir(parents=True)
        Image.fromarray(np.random.default_rng(number).integers(256, size=(400, 600)).astype(np.uint8)).save(picture)
        files[name] = tmp_path / name / "metrics.json"
    draw_figure_3(tmp_path / "figure_3.png", files)
    assert is_drawn(tmp_path / "figure_3.png")
    height, width = pixels(tmp_path / "figure_3.png").shape[:2]
    assert 1.2 < height / width < 2.2  # two pictures of two thirds, and headings
    draw_figure_3(tmp_path / "none.png", {})
    assert not (tmp_path / "none.png").exists()


def test_one_page_leads_to_all_runs_and_holds_the_tables(tmp_path):
    files = {"single_site/ct20-4": record(tmp_path / "single_site" / "ct20-4" / "metrics.json")}
    files["out_of_distribution/a-at-b"] = record(tmp_path / "visits" / "metrics.json", labelled=8)
    for page in ("", "fold_0/", "fold_1/"):
        file = tmp_path / "single_site" / "ct20-4" / page / "report.html"
        file.parent.mkdir(exist_ok=True)
        file.write_text("a page")
    made = write_tables(tmp_path / "tables", files)
    found = check_page(write_schedule_page(tmp_path, files, made))
    assert found.links == [
        *(f"single_site/ct20-4/{page}report.html" for page in ("", "fold_0/", "fold_1/")),
        "single_site/ct20-4/metrics.json",
        "visits/metrics.json",
    ]
    assert list(made["Table 1"].headings) in found.rows
    assert "phantoms" in found.ids
