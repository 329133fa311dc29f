"""The whole method on a real FLARE system with mutual TLS, against the same in one process."""

import dataclasses
import pathlib

import numpy as np
import pytest

from fedsim_tf.baselines.direct_fl import initial_weights
from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import Message
from fedsim_tf.federated.task import PooledLatents
from fedsim_tf.federated.wire_record import BROADCAST, RECEIVED, SENT, WireRecord, read_wire_record
from fedsim_tf.files import read_json, read_rows, write_json, write_npz
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.records.fold_scores import read_fold_scores
from fedsim_tf.runs import on_flare
from fedsim_tf.runs.coordination import coordinate
from fedsim_tf.runs.federated_site import SAMPLES
from fedsim_tf.runs.flare_fold import FoldExecutor
from fedsim_tf.runs.flare_member import LOCAL_FIELDS, LOCAL_FILE, Local, select_local_fields, strip_local_fields
from fedsim_tf.runs.member_start import open_member
from fedsim_tf.runs.same_data import shape_model_digest
from fedsim_tf.training.learner import initial_shared_weights
from fedsim_tf.training.run import RunFolder
from tests.federated.flare.federation import SERVER, Federation, job_of_tests
from tests.federated.flare.fold import (
    BINARY,
    HOSPITALS,
    RUN,
    ToyFoldController,
    ToyFoldExecutor,
    as_toy_sites_do,
    check_same_losses,
    fold_config,
    local_of,
    run_in_process,
)
from tests.federated.records_for_tests import read_arrays
from tests.training.toy_site import toy_config


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """The folders of both runs, and the configuration."""
    root = tmp_path_factory.mktemp("one_process")
    config = fold_config(root)
    with as_toy_sites_do():
        run_in_process(root, config)
    other = tmp_path_factory.mktemp("deployed")
    classes = (ToyFoldController, ToyFoldExecutor)
    settings = {name: local_of(other, name, config) for name in (SERVER, *HOSPITALS)}
    system = Federation(other, HOSPITALS, LOCAL_FILE, lambda name: {}, classes=())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in zip(
            ("COMPONENTS", "FoldController", "FoldExecutor", "make_job"), (classes, *classes, job_of_tests), strict=True
        ):
            patch.setattr(on_flare, name, value)
        for name, local in settings.items():
            on_flare.set_up_member(open_member(system.kits / name, local))
        try:
            system.start_all()
            on_flare.deploy(config, RUN, system.admin)
        finally:
            system.kill_all()
    return root / "runs", other / "runs", config


def fold(runs, member):
    return runs / member / RUN / "fold_0"


def test_a_deployment_learns_what_one_process_learns(folds):
    """The shared model, every site's losses, and its Dice."""
    wanted, found, _ = folds
    with (
        np.load(fold(wanted, SERVER) / "shared_model.npz") as mine,
        np.load(fold(found, SERVER) / "shared_model.npz") as other,
    ):
        assert mine.files == other.files
        for name in mine.files:
            np.testing.assert_allclose(other[name], mine[name], rtol=1e-6, atol=1e-6)
    check_same_losses(fold(wanted, SERVER), fold(found, SERVER))
    for name in HOSPITALS:
        mine, other = (read_fold_scores(fold(runs, name) / "sites" / name, site=name) for runs in (wanted, found))
        assert {arm: scores.regions is None for arm, scores in other.sites[name].items()} == dict.fromkeys(
            ("direct_fl", "ours_sim_fl"), name == BINARY
        )
        assert {arm: scores.dice for arm, scores in other.sites[name].items()} == pytest.approx(
            {arm: scores.dice for arm, scores in mine.sites[name].items()}, abs=1e-3
        )


@pytest.mark.parametrize("name", HOSPITALS)
def test_a_hospital_is_taught_by_its_regions_or_where_its_labels_are_binary_by_their_union(folds, tmp_path, name):
    """L_IoU of the deployment's first round, from a model of the same first weights and sums over voxels."""
    _, found, config = folds
    write_json(tmp_path / LOCAL_FILE, local_of(found.parent, name, config).to_dict() | {"runs_dir": str(tmp_path)})
    with as_toy_sites_do():
        site = FoldExecutor(strip_local_fields(config), RUN, 0, shape_model_digest(config)).open_site(name, tmp_path)
        learner = site._work.learner
        occupancy = learner.model.labels(learner.labelled_latents.table).numpy()
    ids = learner.data.labelled.regions
    assert set(np.unique(ids)) == ({0, 1} if name == BINARY else {0, 1, 5, 7})

    def loss(occupied, truth):
        return 1 - (occupied * truth).sum() / (occupied + truth - occupied * truth).sum()

    expected = []
    for mine, truth in zip(occupancy, ids, strict=True):
        union = loss(mine.sum(axis=-1), truth > 0)
        regions = np.mean([loss(mine[..., region - 1], truth == region) for region in (1, 5, 7)])
        expected.append(union if name == BINARY else 0.5 * union + 0.5 * regions)
    rows = read_rows(fold(found, SERVER) / "losses" / "pretraining.csv")
    (first, *_) = [float(value) for _, loss_name, value in rows if loss_name == f"{name}/iou"]
    assert first == pytest.approx(np.mean(expected), rel=1e-5)


def test_nothing_of_an_image_label_or_latent_was_sent(folds):
    """In a whole run every array that left has a shared variable's shape, or is a moment of latents."""
    _, found, config = folds
    with as_toy_sites_do():
        shared = {**initial_shared_weights(config), **initial_weights(config)}
    length = config.model.latent
    wanted = {(f"gradients/{name}", "x".join(map(str, value.shape))) for name, value in shared.items()}
    wanted |= {("latents/sum", f"{length}"), ("latents/sum_outer", f"{length}x{length}")}
    server = fold(found, SERVER)
    for name in HOSPITALS:
        site = fold(found, name) / "sites" / name
        arrived = [row for row in read_arrays(server, RECEIVED) if row.site == name]
        assert {(row.name, row.shape) for row in arrived} == wanted
        assert arrived == read_arrays(site, SENT)
        record = [row for row in read_wire_record(server, RECEIVED) if row.site == name]
        with_arrays = [row for row in record if row.arrays]
        sent = [row for row in read_wire_record(site, SENT) if row.arrays]
        assert [row[:-1] for row in with_arrays] == [row[:-1] for row in sent]
        assert [row.task for row in with_arrays].count("gradients") == 3 + 3 + 2
        assert all(row.losses < 10 for row in record)
    told = {(row.name, row.shape) for row in read_arrays(server, BROADCAST)}
    moments = {("latents/mean", f"{length}"), ("latents/covariance", f"{length}x{length}")}
    assert told == {(f"weights/{name}", "x".join(map(str, value.shape))) for name, value in shared.items()} | moments


def test_each_hospital_has_its_own_model_samples_and_report(folds):
    _, found, _ = folds
    for name in HOSPITALS:
        run = found / name / RUN
        assert list((run / "fold_0" / "sites").iterdir()) == [run / "fold_0" / "sites" / name]
        assert (run / "fold_0" / "sites" / name / "samples" / "ours_sim_fl" / "synthetic_000_image.nii.gz").is_file()
        metrics = read_json(run / "metrics.json")
        assert list(metrics["summary"]) == [name]
        assert metrics["facts"]["label_kind"] == "regions"
        assert "report.html" in {path.name for path in run.iterdir()}
    assert not list((found / SERVER).rglob("*.nii.gz"))


@pytest.mark.parametrize(
    ("sites", "given", "wanted"),
    [(("a", "b"), "auto", "auto"), (("a", "b", "c"), "auto", "bounded"), (("a", "b", "c"), "none", "none")],
)
def test_three_hospitals_bear_a_bad_one_unless_the_user_has_chosen(sites, given, wanted):
    config = toy_config(federated={"sites": sites, "robust": given})
    assert on_flare.choose_rule(config).federated.robust == wanted


def test_what_is_a_machines_own_does_not_travel():
    config = toy_config(data={"root": "/secret/patients"}, model={"shape_model": "/secret/model.npz"})
    values = strip_local_fields(config)
    assert "secret" not in str(values)
    assert values["model"]["vgg_weights"] == "random"  # the demo's
    assert Local("r", "c", fields=select_local_fields(config)).apply(values) == config
    assert set(select_local_fields(config)) == set(LOCAL_FIELDS)


def test_a_site_grants_no_less_privacy_than_its_own_file_says():
    """A job cannot ask for moments of fewer latents, nor say where a site's data is."""
    job = strip_local_fields(toy_config(federated={"latents_of": 2}))
    with pytest.raises(InputError, match="the job's latents_of: found 2; expected at least 3 at this site"):
        Local("r", "c").grant(job)
    assert Local("r", "c").apply(job).federated.latents_of == 2  # at a server, which has none to grant
    assert Local("r", "c", least_latents=2).grant(job).federated.latents_of == 2
    job["data"]["root"] = "/etc"
    assert Local("r", "c", least_latents=2).grant(job).data.root == ""
    for name in ("../elsewhere", "/etc", "", ".hidden"):
        with pytest.raises(InputError, match="run: found"):
            Local("r", "c").run_path(name)


def test_a_site_whose_budget_is_used_up_still_ends_its_run(tmp_path):
    """It may need no more gradients: what is left of a run gives nothing away."""
    config = fold_config(tmp_path)
    values = strip_local_fields(config)
    values["federated"] |= {"clip_norm": 1.0, "noise_multiplier": 4.0}
    local = dataclasses.replace(local_of(tmp_path, "leeds", config), most_epsilon=0.1)
    write_json(tmp_path / "local" / LOCAL_FILE, local.to_dict())
    gradients = Message({"kind": "gradients"}, {"gradients/shape/0": np.ones(3)}, {})
    earlier = pathlib.Path(local.runs_dir) / "earlier"
    earlier.mkdir(parents=True)
    WireRecord(earlier, SENT).note("leeds", gradients)
    site = FoldExecutor(values, RUN, 0, shape_model_digest(config)).open_site("leeds", tmp_path / "local")
    with pytest.raises(InputError, match=r"found epsilon inf with this answer; expected at most 0\.1"):
        site._budget.spend(1.0)


def test_a_site_that_comes_late_samples_from_the_same_normal(tmp_path):
    """A normal that its own latents had a part in would be another one than the others have sampled from."""
    config = toy_config(segmentation={"arms": ("ours_full",)})
    run = RunFolder(tmp_path / "run", config)
    first, again = Played(normal_at(0.0)), Played(normal_at(1.0))
    coordinate(first, run)
    coordinate(again, run)
    assert (first.asked, again.asked) == ([False, True], [False])
    for played in (first, again):
        np.testing.assert_array_equal(played.given[SAMPLES].distribution.mean, np.zeros(2))


def test_a_site_that_comes_late_gets_the_same_encrypted_moments(tmp_path):
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": ("ours_full",)}, federated={"encrypt": True}))
    first, again = (Played(PooledLatents(encrypted={"00000": np.full(5, one, np.uint8)})) for one in (1, 2))
    coordinate(first, run)
    coordinate(again, run)
    for played in (first, again):
        assert played.given[SAMPLES].distribution is None
        assert {name: part.tolist() for name, part in played.given[SAMPLES].encrypted.items()} == {"00000": [1] * 5}
    write_npz(run.path / "shared_model.npz", {})
    with pytest.raises(InputError, match="found none; expected encrypted moments; move it away, and the same command"):
        coordinate(again, run)


@pytest.mark.parametrize(
    "harm", [lambda file: file.write_bytes(file.read_bytes()[:500]), lambda file: write_npz(file, {})]
)
def test_a_shared_model_that_is_damaged_is_named(tmp_path, harm):
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": ("ours_full",)}))
    played = Played(normal_at(0.0))
    coordinate(played, run)
    harm(run.path / "shared_model.npz")
    with pytest.raises(
        InputError, match=r"shared_model\.npz: found .*; move it away, and the same command makes it anew"
    ):
        coordinate(played, run)


def normal_at(mean):
    return PooledLatents(LatentDistribution(np.full(2, mean), np.eye(2)))


class Played:
    """A coordinator whose sites have these latents; notes whether unannotated ones are asked for, and what is told."""

    def __init__(self, latents):
        self._latents, self.asked, self.given = latents, [], {}

    def run_rounds(self, stage, weights, **settings):
        return weights

    def work_alone(self, work, latents=None):
        self.given[work] = latents

    def pool_latents(self, *, with_unlabelled):
        self.asked.append(with_unlabelled)
        return self._latents


def test_a_fold_that_was_not_asked_for_is_refused_before_anybody_is_asked(tmp_path):
    with pytest.raises(InputError, match="only_fold is 7; it must be 0"):
        on_flare.deploy(toy_config(), RUN, tmp_path, only_fold=7)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (None, "found nothing; expected what python -m experiments.federated_member writes"),
        ([], "found list; expected names and values"),
        ({"runs_dir": "r"}, "found no 'cache_dir'"),
        (
            {"runs_dir": "r", "cache_dir": "c", "gan_steps": 3},
            "found 'gan_steps'; expected runs_dir, cache_dir and others of",
        ),
    ],
)
def test_bad_local_files_are_refused(tmp_path, contents, message):
    if contents is not None:
        write_json(tmp_path / LOCAL_FILE, contents)
    with pytest.raises(InputError, match=message):
        Local.read(tmp_path)
