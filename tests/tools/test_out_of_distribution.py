"""Two toy hospitals whose scanners show blood differently, and the patients of one at the other."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from fedsim_tf.data.splits import PAPER_SIZES, SplitSizes
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_json
from fedsim_tf.records.run_metrics import read_metrics
from fedsim_tf.tools import out_of_distribution as job
from fedsim_tf.tools import visit
from fedsim_tf.tools.out_of_distribution import _find_regions, run_out_of_distribution
from fedsim_tf.tools.visit import open_visit
from fedsim_tf.training.run import RunFolder, site_path
from tests.evaluation.pictures_for_tests import is_drawn, leave_out_pictures
from tests.runs.toy_cohorts import write_paper_cohort, write_shapes
from tests.runs.toy_starts import open_and_run
from tests.training.region_site import region_volumes, without_regions
from tests.training.toy_site import toy_config

SITES = ("ct20", "ct34lc")
ARMS = ("lower_bound", "ours_full")


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Finished toy runs at both sites: their only folds, and where things are."""
    root = tmp_path_factory.mktemp("hospitals")
    shapes = str(write_shapes(root / "shapes.npz"))
    with pytest.MonkeyPatch.context() as patch:
        leave_out_pictures(patch)
        for site in SITES:
            write_paper_cohort(root / site, site)
            patch.setitem(PAPER_SIZES, site, SplitSizes(3, 1, 1))
            open_and_run(_config(root, site, shapes), root / "runs" / site, cache_dir=root / "cache")
        yield {"root": root, **{site: root / "runs" / site / "fold_0" for site in SITES}}


def _config(root, site, shapes, **model):
    return toy_config(
        dataset=site,
        data={"root": str(root / site), "labels": 2},
        model={"shape_model": shapes, **model},
        pretraining={"steps": 1},
        gan={"steps": 1},
        semi={"steps": 1},
        synthesis={"volumes": 1},
        segmentation={"arms": ARMS, "pretraining_steps": 1, "finetuning_steps": 1},
    )


@pytest.fixture(scope="module")
def metrics(hospitals):
    return run_visit(
        hospitals["ct20"], hospitals["ct34lc"], hospitals["root"] / "out", cache_dir=hospitals["root"] / "cache"
    )


def run_visit(*places, **options):
    return run_out_of_distribution(open_visit(*places, **options))


def test_every_arm_is_scored_on_the_visitors_test_patients(hospitals, metrics):
    own = json.loads((hospitals["root"] / "runs" / "ct20" / "metrics.json").read_text())["folds"][0]["ct20"]
    for images in ("rendered", "as scanned"):
        (fold,) = metrics.folds
        assert tuple(fold[images]) == ARMS
        for arm in ARMS:
            assert set(fold[images][arm].cases) == set(own[arm]["cases"])
    assert (metrics.facts.patients, metrics.facts.hospital, metrics.facts.label_kind) == (*SITES, "heart")
    assert f"ct20 in {hospitals['root'] / 'ct20'}" in metrics.facts.data
    assert read_metrics(hospitals["root"] / "out" / "metrics.json") == metrics
    assert is_drawn(hospitals["root"] / "out" / "segmentations_0.png")


def test_results_of_something_else_are_not_written_over(hospitals, metrics, tmp_path):
    cache = {"cache_dir": hospitals["root"] / "cache"}
    one, other, run = hospitals["ct20"], hospitals["ct34lc"], hospitals["root"] / "runs" / "ct20"
    with pytest.raises(InputError, match="ct20: found a run; expected another output folder"):
        run_visit(one, other, run, **cache)
    shutil.copy(run / "metrics.json", tmp_path / "metrics.json")
    with pytest.raises(InputError, match="found the results of a run; expected another output folder"):
        run_visit(one, other, tmp_path, **cache)
    with pytest.raises(InputError, match="found patients of ct20 at ct34lc; expected another output folder"):
        run_visit(other, one, hospitals["root"] / "out", **cache)
    values = json.loads((hospitals["root"] / "out" / "metrics.json").read_text())
    values["facts"]["label_kind"] = "regions"
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match="found networks with labels of kind regions; expected another output folder"):
        run_visit(one, other, tmp_path, **cache)
    shutil.copytree(run, tmp_path / "federated")
    (tmp_path / "federated" / "fold_0" / "sites").mkdir()
    with pytest.raises(InputError, match="found a federated run; expected a single-site run"):
        run_visit(tmp_path / "federated", other, tmp_path / "out", **cache)


def test_visitors_as_scanned_at_their_own_hospital_score_as_there(hospitals, tmp_path):
    """A hospital's own patients, as scanned, are its test part: scores are its run's to the digit."""
    own = json.loads((hospitals["root"] / "runs" / "ct34lc" / "metrics.json").read_text())["folds"][0]["ct34lc"]
    fold = hospitals["ct34lc"]
    found = run_visit(fold, fold, tmp_path, cache_dir=hospitals["root"] / "cache")
    for arm in ARMS:
        rendered, scanned = (found.folds[0][images][arm].dice for images in ("rendered", "as scanned"))
        assert scanned == pytest.approx(own[arm]["dice"], abs=1e-9)
        assert rendered != scanned


def test_masks_stay_the_patients_and_images_are_the_hospitals(hospitals):
    home, host = (visit.open_folds(hospitals[site])[0] for site in SITES)
    visitors, site = (job._open_volumes(fold, hospitals["root"] / "cache") for fold in (home, host))
    rendered = job._render_visitors(host, site, visitors.test)
    np.testing.assert_array_equal(rendered.labels, visitors.test.labels)
    assert rendered.images.shape == visitors.test.images.shape
    assert np.abs(rendered.images).max() <= 1.0
    assert np.any(rendered.images != visitors.test.images)


def test_patients_have_labels_as_the_hospitals_networks_tell_them(hospitals):
    (home,) = visit.open_folds(hospitals["ct20"])
    cache = hospitals["root"] / "cache"
    whole, by_region = (job._open_volumes(home, cache, labels=kind).test for kind in ("heart", "regions"))
    assert whole.regions is None
    assert by_region.regions.dtype == np.uint8
    np.testing.assert_array_equal(by_region.regions > 0, whole.labels)


def test_whole_runs_meet_fold_by_fold(hospitals, metrics, tmp_path):
    runs = [hospitals[site].parent for site in SITES]
    found = run_visit(*runs, tmp_path, cache_dir=hospitals["root"] / "cache")
    assert found.folds == metrics.folds


@pytest.fixture
def shared(hospitals, tmp_path):
    """A federated run whose Direct-FL network at the second hospital is that hospital's own lower bound."""
    own, fold = hospitals["ct34lc"], tmp_path / "shared" / "fold_0"
    for folder in (fold, site_path(fold, "ct34lc")):
        values = json.loads((own / "config.json").read_text())
        values["segmentation"]["arms"] = ["direct_fl"]
        write_json(folder / "config.json", values)
    for part in ("checkpoints/segmentation/{}/finetune", "stages/segmentation/{}/finetune.json"):
        source, target = own / part.format("lower_bound"), site_path(fold, "ct34lc") / part.format("direct_fl")
        target.parent.mkdir(parents=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    return fold.parent


def test_networks_of_a_federated_run_at_the_hospital_are_scored_too(hospitals, metrics, shared, tmp_path):
    places = hospitals["ct20"], hospitals["ct34lc"], tmp_path / "out"
    found = run_visit(*places, cache_dir=hospitals["root"] / "cache", federated=shared)
    for images in ("rendered", "as scanned"):
        fold, before = found.folds[0][images], metrics.folds[0][images]
        assert tuple(fold) == (*ARMS, "direct_fl")
        assert {arm: fold[arm] for arm in ARMS} == before
        assert fold["direct_fl"] == before["lower_bound"]


def test_a_federated_run_without_the_hospital_or_its_fold_is_refused(hospitals, shared, tmp_path):
    with pytest.raises(InputError, match="no ct20 in fold 0; expected a federated run of this site"):
        visit._open_federated_site(shared, "ct20", [0])
    with pytest.raises(InputError, match=r"found folds \[0\]; expected fold 3 too"):
        visit._open_federated_site(shared, "ct34lc", [0, 3])


def test_a_federated_run_with_labels_of_another_kind_is_refused(hospitals, shared, tmp_path):
    file = site_path(shared / "fold_0", "ct34lc") / "config.json"
    values = json.loads(file.read_text())
    values["model"]["labels"] = "regions"
    write_json(file, values)
    places = hospitals["ct20"], hospitals["ct34lc"], tmp_path / "out"
    with pytest.raises(InputError, match="found labels of kind regions; expected heart, as of the hospital's own run"):
        open_visit(*places, cache_dir=hospitals["root"] / "cache", federated=shared)


def test_a_federated_run_that_has_learnt_from_the_patients_is_refused(hospitals, shared, tmp_path):
    """In another fold, or with another split, the patients' own hospital may have trained with them."""
    own = site_path(shared / "fold_0", "ct20")
    own.mkdir()
    record = json.loads((hospitals["ct20"] / "data.json").read_text())
    (patient,) = record["parts"]["test"]
    record["parts"]["unlabelled"][patient] = record["parts"]["test"].pop(patient)
    write_json(own / "data.json", record)
    places = hospitals["ct20"], hospitals["ct34lc"], tmp_path / "out"
    with pytest.raises(InputError, match=f"found {patient} among what it learnt from; expected the patients' own fold"):
        run_visit(*places, cache_dir=hospitals["root"] / "cache", federated=shared)


def test_patients_meet_the_networks_of_the_fold_with_the_same_number(tmp_path):
    """Whichever folds of the two runs there are; a network must not have learnt from the patients that it meets."""
    home, host, other = (tmp_path / name for name in ("home", "host", "other"))
    for run, numbers in ((home, (0, 2, 3)), (host, (1, 2, 3)), (other, (1, 4))):
        for number in numbers:
            RunFolder(run / f"fold_{number}", toy_config())
    pairs = visit._pair_folds(home, host)
    assert [(a.number, b.number) for a, b in pairs] == [(2, 2), (3, 3)]
    assert {a.run.path.parent for a, _ in pairs} == {home.resolve()}
    [(a, b)] = visit._pair_folds(home / "fold_0", host / "fold_1")
    assert (a.number, b.number) == (0, 1)
    RunFolder(tmp_path / "one" / "fold_0", toy_config())
    with pytest.raises(InputError, match=r"found folds \[1, 4\]; expected one of folds \[0\]"):
        visit._pair_folds(tmp_path / "one", other)
    with pytest.raises(InputError, match=r"found folds \[1, 4\]; expected one of folds \[0, 2, 3\]"):
        visit._pair_folds(home, other)


def test_wrong_folders_are_one_line(hospitals, tmp_path):
    with pytest.raises(InputError, match="found no run; expected a run's folder, or that of a fold such as"):
        run_visit(hospitals["root"], hospitals["ct34lc"], tmp_path, cache_dir=tmp_path)
    (tmp_path / "fold_0").mkdir()
    with pytest.raises(InputError, match="found no run"):
        run_visit(tmp_path / "fold_0", hospitals["ct34lc"], tmp_path, cache_dir=tmp_path)


def test_patients_without_regions_cannot_be_shown_to_a_hospital_that_tells_them_apart():
    patients = region_volumes(3, 0)
    np.testing.assert_array_equal(_find_regions(patients), patients.regions)
    for visitors, names in (
        (without_regions(patients, 1), "toy_0_1"),
        (dataclasses.replace(patients, regions=None), "toy_0_0, toy_0_1, toy_0_2"),
    ):
        with pytest.raises(InputError, match=f"^{names}: found hearts as a whole; expected labels that tell"):
            _find_regions(visitors)
