"""Files that runs leave: read back as they were written; earlier ones are read, later or damaged ones refused."""

import dataclasses
import json

import pytest

from fedsim_tf.data.splits import SplitSizes
from fedsim_tf.errors import InputError
from fedsim_tf.metrics import Agreement
from fedsim_tf.records.fold_data import DATA, FoldData, SliceData, read_fold_data, read_slice_data
from fedsim_tf.records.fold_scores import SCORES, CaseScores, FoldScores, RegionScores, read_fold_scores
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
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics, VisitFacts, VisitMetrics, read_metrics
from fedsim_tf.records.versioned import write_record
from tests.evaluation.records_for_tests import scores

LIKENESS = Likeness(
    tissues={"heart": TissueComparison(150.0, 50.0, 140.0, 40.0, 10.0, 45.0, 35.0)},
    differences={
        "lung": DifferenceComparison(Differences((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)), Differences((7.0,) * 3, (8.0,) * 3))
    },
    hearts=HeartComparison(HeartVariety(600.0, 0.18, 9.0, 12.0, 53.0), HeartVariety(620.0, 0.1, 6.0, 8.0, 67.0)),
    novelty=Novelty(100.0, 90.0, 200.0, 180.0),
    planes={"axial": FeatureDistances(0.5, 0.25)},
    shape_modes=ShapeModes(ModeWeights((0.1, -0.2), (1.0, 0.5)), ModeWeights((0.0, 0.0), (0.9, 0.8))),
    upper_bound_dice=Pair(90.0, 88.0),
)
AGREEMENT = (91.0, 80.0, 3.0, 1.0, 2.0)
ARMS = {
    "upper_bound": scores(90.0, cases={"a": CaseScores(*AGREEMENT, found_ml=510.0, true_ml=500.0)}),
    "ours_full": scores(80.0, likeness=LIKENESS),
}
BY_REGION = {"myo": RegionScores(*AGREEMENT, cases={"a": Agreement(*AGREEMENT)}), "PA": RegionScores(*AGREEMENT, {})}
ARMS_BY_REGION = {"upper_bound": dataclasses.replace(ARMS["upper_bound"], regions=BY_REGION)}
FACTS = RunFacts(
    data="phantom cohort (ct20)",
    split={"ct20": SplitSizes(12, 4, 4)},
    folds=2,
    seed=7,
    experiment="single_site",
    labelled=4,
    commit="abc",
)
RUN = RunMetrics(facts=FACTS, folds=({"ct20": ARMS}, {"ct20": ARMS}), stages={"fold_0/gan": {"steps": 3}})
VISIT = VisitMetrics(
    facts=VisitFacts(patients="ct20", hospital="ct34lc", data="both", labelled=6),
    folds=({"rendered": ARMS, "as scanned": ARMS},),
)
FOLD_DATA = FoldData(
    shape_model="5ha",
    vgg="random",
    field_of_view_mm=(160.0, 120.0, 80.0),
    in_files_mm=(512.0, 512.0, 300.0),
    parts={"test": {"a": (0.5, 0.25)}, "labelled": {}},
)
SLICES = SliceData(held_out=2, pictures={"slice_0": "5ha"})

# As version 0.1.0 wrote them, before files had a version.
EARLIER_ARM = {
    "dice": 80.0,
    "iou": 70.0,
    "hd95_mm": 3.0,
    "surface_mm": 1.0,
    "volume_error": 5.0,
    "cases": {"a": {"dice": 80.0, "iou": 70.0, "hd95_mm": 3.0, "surface_mm": 1.0, "volume_error": 5.0}},
}
EARLIER_METRICS = {
    "facts": {
        "commit": "2e8d3b9d27",
        "data": "phantom cohort (ct20)",
        "experiment": "single_site",
        "fedsim_tf": "0.1.0",
        "folds": 1,
        "labelled": 4,
        "split": {"ct20": {"test": 4, "train": 12, "validation": 4}},
    },
    "folds": [{"ct20": {"lower_bound": EARLIER_ARM}}],
    "stages": {"fold_0/gan": {"losses": {}, "seconds": 1.5, "steps": 3}},
    "summary": {"ct20": {"lower_bound": {"dice": 80.0, "folds": 1}}},
}
EARLIER_DATA = {"shape_model": "5ha", "field_of_view_mm": [160.0, 120.0, 80.0], "parts": {"test": {"a": [0.5]}}}

READERS = {  # a file's name, a record, what reads it, what it needs
    "metrics": ("metrics.json", RUN, read_metrics, "facts"),
    "visit": ("metrics.json", VISIT, read_metrics, "folds"),
    "scores": (SCORES, FoldScores({"ct20": ARMS}), lambda file: read_fold_scores(file.parent, site="ct20"), "sites"),
    "scores by region": (
        SCORES,
        FoldScores({"ct20": ARMS_BY_REGION}),
        lambda file: read_fold_scores(file.parent, site="ct20"),
        "sites",
    ),
    "data": (DATA, FOLD_DATA, read_fold_data, "parts"),
    "slices": (DATA, SLICES, read_slice_data, "pictures"),
}


@pytest.fixture(params=list(READERS))
def written(request, tmp_path):
    """A file, the record that is in it, what reads it and a field that it needs."""
    name, record, read, needed = READERS[request.param]
    write_record(tmp_path / name, record)
    return tmp_path / name, record, read, needed


def refused(read, file):
    with pytest.raises(InputError) as caught:
        read(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: found ")
    assert "\n" not in message
    return message


def test_records_are_read_back_as_they_were_written(written):
    file, record, read, _ = written
    assert read(file) == record
    assert json.loads(file.read_text())["version"] == type(record).VERSION


def test_arms_keep_their_order(tmp_path):
    write_record(tmp_path / SCORES, FoldScores({"ct20": ARMS}))
    assert list(read_fold_scores(tmp_path, site="ct20").sites["ct20"]) == list(ARMS)


def test_a_later_version_is_refused(written):
    file, record, read, _ = written
    newest = record.VERSION
    for version in (newest + 1, newest + 0.5, 0, "1", None):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"version": version}))
        message = refused(read, file)
        assert f"found version {version!r}; expected at most {newest}: use the newer fedsim_tf that wrote" in message


@pytest.mark.parametrize("contents", ["", '{"facts": {"exp', "\udce4", "[1, 2]", '"scores"', "3"])
def test_damaged_and_foreign_files_are_refused(written, contents):
    file, _, read, _ = written
    file.write_bytes(contents.encode("utf-8", "surrogateescape"))
    assert "JSON" in refused(read, file)


def test_files_that_lack_something_are_refused_with_what_to_do(written):
    file, _, read, needed = written
    values = json.loads(file.read_text())
    for version, said in (({"version": 1}, "as version 1"), ({}, "before files had a version")):
        less = {name: value for name, value in values.items() if name not in (needed, "version")}
        file.write_text(json.dumps({**version, **less}))
        message = refused(read, file)
        assert f"expected what a file written {said} has: " in message
        assert message.endswith(("makes it anew", "begin again in another run folder"))


def test_values_of_another_kind_are_named(tmp_path):
    values = json.loads(json.dumps(RUN.to_json()))
    values["folds"][1]["ct20"]["ours_full"]["dice"] = "good"
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    assert "found folds.1.ct20.ours_full.dice: input should be a valid number" in refused(
        read_metrics, tmp_path / "metrics.json"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folds": []}, "found no folds;"),
        ({"folds": [{"ct20": ARMS}, {}]}, "found folds with different sites or arms;"),
        ({"facts": {**EARLIER_METRICS["facts"], "labelled": {"ct34lc": 6}}}, "found no facts.labelled.ct20;"),
    ],
)
def test_folds_that_do_not_fit_together_are_refused(tmp_path, change, message):
    (tmp_path / "metrics.json").write_text(json.dumps(RUN.to_json() | change, default=lambda one: one.__dict__))
    assert message in refused(read_metrics, tmp_path / "metrics.json")


def test_earlier_results_are_read(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(EARLIER_METRICS))
    found = read_metrics(tmp_path / "metrics.json")
    (fold,) = found.folds
    assert fold["ct20"]["lower_bound"].cases["a"] == CaseScores(80.0, 70.0, 3.0, 1.0, 5.0)
    assert fold["ct20"]["lower_bound"].cases["a"].error_ml is None  # ml came with version 4
    assert found.facts.split == {"ct20": (12, 4, 4)}
    assert found.facts.labels_at("ct20") == 4
    assert found.facts.vgg is None
    assert found.stages == EARLIER_METRICS["stages"]


def test_earlier_scores_are_read_by_site_and_by_arm_alone(tmp_path):
    """A single site's file had arms at its top, a federated fold's had sites."""
    (tmp_path / SCORES).write_text(json.dumps({"lower_bound": EARLIER_ARM}))
    alone = read_fold_scores(tmp_path, site="ct20").sites
    (tmp_path / SCORES).write_text(json.dumps({"ct20": {"lower_bound": EARLIER_ARM}}))
    assert read_fold_scores(tmp_path, site="anywhere").sites == alone
    assert alone["ct20"]["lower_bound"].dice == 80.0


def test_results_and_scores_of_version_1_are_read_and_have_no_regions(tmp_path):
    (tmp_path / SCORES).write_text(json.dumps({"version": 1, "sites": {"ct20": {"lower_bound": EARLIER_ARM}}}))
    scores_read = read_fold_scores(tmp_path, site="ct20").sites["ct20"]["lower_bound"]
    (tmp_path / "metrics.json").write_text(json.dumps({"version": 1, **EARLIER_METRICS}))
    (fold,) = read_metrics(tmp_path / "metrics.json").folds
    assert scores_read == fold["ct20"]["lower_bound"]
    assert (scores_read.dice, scores_read.regions) == (80.0, None)


def test_likeness_of_version_2_is_read_and_lacks_what_was_not_measured(tmp_path):
    tissue = {"real_mean_hu": 150, "real_sd_hu": 50, "synthetic_mean_hu": 140, "synthetic_sd_hu": 40, "distance_hu": 10}
    earlier = {"tissues": {"heart": tissue}, "features": {"real_to_synthetic": 0.5, "real_to_real": 0.25}}
    arm = {**EARLIER_ARM, "likeness": earlier}
    (tmp_path / SCORES).write_text(json.dumps({"version": 2, "sites": {"ct20": {"ours_full": arm}}}))
    found = read_fold_scores(tmp_path, site="ct20").sites["ct20"]["ours_full"].likeness
    assert found == Likeness(tissues={"heart": TissueComparison(150.0, 50.0, 140.0, 40.0, 10.0)})


@pytest.mark.parametrize(("results", "earlier"), [(RUN, EARLIER_METRICS), (VISIT, None)])
def test_results_say_their_kind_of_labels_and_those_that_do_not_are_of_the_heart(tmp_path, results, earlier):
    file = tmp_path / "metrics.json"
    facts = dataclasses.replace(results.facts, label_kind="regions")
    write_record(file, dataclasses.replace(results, facts=facts))
    assert read_metrics(file).facts == facts
    values = json.loads(file.read_text())
    del values["facts"]["label_kind"]
    for one in filter(None, (values, earlier)):
        file.write_text(json.dumps(one))
        assert read_metrics(file).facts.label_kind == "heart"
    values["facts"]["label_kind"] = "lungs"
    file.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"found facts\.label_kind 'lungs', not heart or regions; expected"):
        read_metrics(file)


def test_the_summary_has_regions_only_where_there_are_some(tmp_path):
    write_record(tmp_path / "metrics.json", RUN)
    row = json.loads((tmp_path / "metrics.json").read_text())["summary"]["ct20"]["upper_bound"]
    assert "regions" not in row
    by_region = dataclasses.replace(RUN, folds=({"ct20": ARMS_BY_REGION},))
    write_record(tmp_path / "metrics.json", by_region)
    row = json.loads((tmp_path / "metrics.json").read_text())["summary"]["ct20"]["upper_bound"]
    assert {name: (one["dice"], one["folds"]) for name, one in row["regions"].items()} == {
        "myo": (91.0, 1),
        "PA": (91.0, 1),
    }


def test_earlier_data_is_read(tmp_path):
    (tmp_path / DATA).write_text(json.dumps(EARLIER_DATA))
    found = read_fold_data(tmp_path / DATA)
    assert found.parts == {"test": {"a": (0.5,)}}
    assert (found.vgg, found.in_files_mm) == (None, None)


def test_the_summary_is_written_for_people_and_made_anew_when_read(tmp_path):
    write_record(tmp_path / "metrics.json", RUN)
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert values["summary"]["ct20"]["ours_full"]["dice"] == 80.0
    assert values["summary"]["ct20"]["ours_full"]["dice_std"] == 0.0
    assert "likeness" not in values["folds"][0]["ct20"]["upper_bound"]
    values["summary"] = {}
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    assert read_metrics(tmp_path / "metrics.json").summary == RUN.summary
