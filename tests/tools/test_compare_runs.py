"""Tables and paired tests over runs, from the records that they have left."""

import csv
import dataclasses

import numpy as np
import pytest
from scipy import stats

from fedsim_tf.errors import InputError
from fedsim_tf.files import write_json
from fedsim_tf.metrics import mean_agreement
from fedsim_tf.records.fold_data import DATA, FoldData
from fedsim_tf.records.fold_scores import SCORES, ArmScores, CaseScores, FoldScores
from fedsim_tf.records.versioned import write_record
from fedsim_tf.tools.compare_runs import open_comparison, write_comparison
from fedsim_tf.tools.compared_run import FoldAt
from tests.experiments.commands import run_command
from tests.training.toy_site import toy_config

LOWER, FULL = {"anna": 80.0, "berta": 84.0, "clara": 85.5, "dora": 79.0}, {"anna": 83.0, "berta": 84.5, "clara": 89.0}
FULL = FULL | {"dora": 84.0}
FOLDS = (("anna", "berta"), ("clara", "dora"))
MARKS = (0.1, 0.2, 0.5, 0.5, 0.5, 900.0, 0.4, 0.4, 0.4, 96.0, 96.0, 96.0)


def scored(by_patient, patients):
    cases = {
        name: CaseScores(by_patient[name], 70.0, 100.0 - by_patient[name], 2.0, 5.0, found_ml=520.0, true_ml=500.0)
        for name in patients
    }
    return ArmScores(**dataclasses.asdict(mean_agreement(cases.values())), cases=cases)


def note(patients, *, labelled=4, marks=MARKS):
    parts = {"labelled": {f"l{k}": (0.0,) for k in range(labelled)}, "test": dict.fromkeys(patients, marks)}
    return FoldData(shape_model="x", field_of_view_mm=(96.0, 96.0, 96.0), parts=parts)


def write_run(path, *, folds=FOLDS, sites=(), change=0.0, finished=2, labelled=4, marks=MARKS, arms=None, **config):
    """A run of two folds with scores; `change` is added to each Dice."""
    settings = toy_config(dataset="ct20", data={"folds": 2}, **config)
    write_json(path / "config.json", settings.to_dict())
    arms = arms or {"lower_bound": LOWER, "ours_full": FULL}
    for number, patients in list(enumerate(folds))[:finished]:
        for site in sites or ("ct20",):
            folder = path / f"fold_{number}" / (f"sites/{site}" if sites else "")
            by_arm = {
                arm: scored({name: dice + change for name, dice in values.items()}, patients)
                for arm, values in arms.items()
            }
            write_record(folder / SCORES, FoldScores({site: by_arm}))
            write_record(folder / DATA, note(patients, labelled=labelled, marks=marks))
    return path


def rows_of(comparison, title):
    table = comparison.make_tables()[title]
    return [dict(zip(table.headings, row, strict=True)) for row in table.rows]


def test_scores_are_over_patients_and_differences_have_scipys_p(tmp_path):
    found = open_comparison([write_run(tmp_path / "a")])
    assert found.remarks == []
    lower, full = (np.array(list(values.values())) for values in (LOWER, FULL))
    rows = {row["arm"]: row for row in rows_of(found, "Scores")}
    assert rows["Ours-Full"]["Dice %"] == f"{full.mean():.2f} ± {full.std(ddof=1):.2f}"
    assert (rows["Ours-Full"]["patients"], rows["Ours-Full"]["folds"]) == ("4", "2")
    (row,) = rows_of(found, "Differences")
    assert row["Dice %"] == f"{np.mean(full - lower):+.2f}"
    assert row["p, Dice"] == f"{stats.ttest_rel(full, lower).pvalue:.3f}"
    by_fold = [values.reshape(2, 2).mean(axis=1) for values in (full, lower)]
    assert row["Dice %, by fold"] == f"{np.mean(by_fold[0] - by_fold[1]):+.2f}"
    assert row["p, Dice by fold"] == f"{stats.ttest_rel(*by_fold).pvalue:.3f}"
    assert (row["patients"], row["folds"]) == ("4", "2")


def test_two_runs_are_paired_arm_by_arm_and_arms_alone_with_the_run_that_has_the_partner(tmp_path):
    first = write_run(tmp_path / "a", arms={"lower_bound": LOWER})
    second = write_run(tmp_path / "b", arms={"ours_full": FULL})
    third = write_run(tmp_path / "c", change=1.5)
    rows = rows_of(open_comparison([first, second, third]), "Differences")
    found = {(row["run"], row["arm"][:4], row["less run"], row["less arm"][:4]): row for row in rows}
    assert set(found) == {
        ("b", "Ours", "a", "Lowe"),
        ("c", "Ours", "c", "Lowe"),
        ("c", "Lowe", "a", "Lowe"),
        ("c", "Ours", "b", "Ours"),
    }
    assert found["c", "Ours", "b", "Ours"]["Dice %"] == "+1.50"


def test_a_patient_whom_several_folds_test_counts_once(tmp_path):
    found = open_comparison([write_run(tmp_path / "a", folds=(("anna", "berta"), ("anna", "clara")))])
    assert {row["patients"] for row in rows_of(found, "Scores")} == {"3"}


def test_what_differs_is_said_in_a_line_each(tmp_path):
    first = write_run(tmp_path / "x" / "run")
    second = write_run(
        tmp_path / "y" / "run",
        folds=(("anna", "clara"), ("berta", "dora")),
        finished=1,
        labelled=8,
        model={"labels": "regions"},
    )
    found = open_comparison([first, second])
    assert found.remarks == [
        "y/run: fold 1 of 2 not finished and left out",
        "y/run tells regions apart and is compared by the whole heart, their union",
        "x/run and y/run do not test the same patients of ct20 in folds 0, 1: 2 patients that both test are compared",
        "at ct20 x/run has 4 annotated training volumes, y/run 8",
    ]
    assert all("\n" not in line for line in found.remarks)
    across = [row for row in rows_of(found, "Differences") if row["run"] != row["less run"]]
    assert {(row["patients"], row["folds"], row["Dice %"]) for row in across} == {("2", "0", "+0.00")}
    other = write_run(tmp_path / "z", folds=(("anna", "clara"), ("berta", "dora")), change=1.0)
    across = [r for r in rows_of(open_comparison([first, other]), "Differences") if r["run"] != r["less run"]]
    assert {(row["patients"], row["folds"], row["Dice %"]) for row in across} == {("4", "0", "+1.00")}


def test_sites_of_federated_runs_have_rows_of_their_own(tmp_path):
    federated = write_run(tmp_path / "fed", sites=("ct20", "ct34lc"), change=2.0)
    found = open_comparison([write_run(tmp_path / "alone"), federated])
    assert list(found.runs[1].scores) == [FoldAt(site, fold) for fold in range(2) for site in ("ct20", "ct34lc")]
    assert found.remarks == ["only one of alone and fed has the sites ct34lc"]
    across = [row for row in rows_of(found, "Differences") if row["run"] != row["less run"]]
    assert [(row["site"], row["Dice %"]) for row in across] == [("ct20", "+2.00")] * 2


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"folds": (("zoe", "yara"),)}, "found patients other than those of .*a; expected at least one that both test"),
        ({"marks": (0.9, *MARKS[1:])}, "found the volumes of its patients other than those of"),
        ({"marks": (*MARKS[:5], 950.0, *MARKS[6:])}, "found the volumes of its patients other than those of"),
        ({"model": {"size": 64}}, r"found volumes of 64\^3 voxels; expected 32\^3"),
        ({"finished": 0}, "found no finished fold"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(tmp_path, other, words):
    lower, full = (values | {"zoe": 50.0, "yara": 60.0} for values in (LOWER, FULL))
    first = write_run(tmp_path / "a")
    second = write_run(tmp_path / "b", arms={"lower_bound": lower, "ours_full": full}, **other)
    with pytest.raises(InputError, match=f"b: {words}") as caught:
        open_comparison([first, second])
    assert "\n" not in str(caught.value)


def test_for_a_fold_its_run_is_named(tmp_path):
    run = write_run(tmp_path / "a")
    (run / "fold_0" / "config.json").write_bytes((run / "config.json").read_bytes())
    with pytest.raises(InputError, match=r"fold_0: found a fold; expected the folder of its run, .*/a$"):
        open_comparison([run / "fold_0"])


def test_marks_of_labels_of_another_kind_are_not_compared(tmp_path):
    by_region = (*MARKS[:5], 3000.0, *MARKS[6:])
    second = write_run(tmp_path / "b", marks=by_region, change=1.0, model={"labels": "regions"})
    found = open_comparison([write_run(tmp_path / "a"), second])
    assert len(found.shared[0, 1]) == 4


def test_command_prints_and_writes_markdown_and_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", change=1.0, finished=1)
    flags = ("--run=a", "--run=b", "--output=out")
    dry = run_command("compare", *flags, "--dry_run")
    assert (dry.status, dry.stderr) == (0, "")
    assert dry.stdout.splitlines()[:3] == [
        "a: 2 finished folds, 4 test patients",
        "b: 1 finished fold, 2 test patients",
        "b: fold 1 of 2 not finished and left out",
    ]
    assert not (tmp_path / "out").exists()
    found = run_command("compare", *flags)
    assert found.status == 0
    page = (tmp_path / "out" / "comparison.md").read_text()
    assert page in found.stdout
    assert "- b: fold 1 of 2 not finished and left out." in page
    with open(tmp_path / "out" / "patients.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (4 + 2) * 2
    assert rows[0] | {"dice": float(rows[0]["dice"])} == {
        "run": "a",
        "site": "ct20",
        "fold": "0",
        "patient": "anna",
        "arm": "lower_bound",
        "dice": 80.0,
        "hd95_mm": "20",
        "volume_error": "5",
        "found_ml": "520",
        "true_ml": "500",
    }
    for name in ("scores", "differences"):
        with open(tmp_path / "out" / f"{name}.csv", encoding="utf-8") as file:
            table = csv.DictReader(file)
            assert len(set(table.fieldnames)) == len(table.fieldnames)
            assert list(table)
    write_comparison(open_comparison([tmp_path / "a"]), tmp_path / "out")  # again, in place of the earlier one
    assert "`b`" not in (tmp_path / "out" / "comparison.md").read_text()
