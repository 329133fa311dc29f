"""Sites and server over the in-process engine, and what either refuses."""

import csv
import dataclasses
import shutil

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.coordinator import Coordinator, NormCheck, Paused, QuorumLost
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.server import Server, pool_moments
from fedsim_tf.federated.site import Site, check_shared_weights
from fedsim_tf.federated.task import Answer, Answers, Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.files import read_json
from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.simulation import pretrain, semi_supervise
from fedsim_tf.training.stage import read_losses
from tests.federated.toy_federation import ToyFederation
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan", "small_unet")

WEIGHTS = {"shape/0": np.ones((2, 3), np.float32), "material/0": np.zeros(4, np.float32)}
SITES = ("a", "b", "c")
# Stage 3 has steps of two kinds, in turn.
SHORT = {"pretraining": {"steps": 2}, "gan": {"steps": 1}, "semi": {"steps": 2}}


def update(site="a", round_number=0, value=1.0, stage="pretraining", **changes):
    gradients = {name: np.full_like(array, value) for name, array in WEIGHTS.items()}
    return SiteUpdate(site, stage, round_number, 3, {**gradients, **changes})


def test_server_takes_one_adam_step_on_the_sum():
    """Adam's first step moves by its rate against the sign of the summed gradient, whatever its size."""
    server = Server(WEIGHTS, rate=0.1, steps=1000, accumulate="sum")
    server.step([update(value=3.0), update("b", value=-1.0)])
    np.testing.assert_allclose(server.weights["shape/0"], 0.9, atol=1e-5)
    server = Server(WEIGHTS, rate=0.1, steps=1000, accumulate="sum")
    server.step([update(value=1.0), update("b", value=-1.0)])
    np.testing.assert_array_equal(server.weights["shape/0"], WEIGHTS["shape/0"])


class Scripted:
    """An exchange whose sites answer every round alike, but for one."""

    def __init__(self, odd):
        self._odd = odd

    def __call__(self, task):
        if task.kind != "gradients":
            return Answers([Answer(SiteUpdate(name, task.stage, task.round, 0), {}) for name in SITES], {})
        usual = {name: Answer(update(name, task.round), {"iou": 0.5}) for name in SITES}
        missing = {}
        odd = self._odd(task)
        if isinstance(odd, SiteUpdate):
            usual["b"] = Answer(odd, {})
        elif odd:
            del usual["b"]
            missing["b"] = odd
        return Answers(list(usual.values()), missing)


ODD = {
    "another round": (lambda task: update("b", task.round + 4), "update of b: found round 4 of pretraining"),
    "another stage": (lambda task: update("b", stage="gan"), "update of b: found round 0 of gan"),
    "another name": (lambda task: update("b", extra=np.zeros(1, np.float32)), "differ in .'extra'."),
    "another shape": (
        lambda task: update("b", **{"shape/0": np.zeros((3, 2), np.float32)}),
        r"found shape \(3, 2\); expected shape \(2, 3\)",
    ),
    "a huge norm": (lambda task: update("b", value=1e3), "gradients of b: found norm 3.16e.03; expected at most 100"),
    "nothing": (lambda task: "b: loss iou is nan", "b: loss iou is nan"),
}


@pytest.mark.parametrize("odd", ODD)
def test_bad_updates_are_refused_with_the_sites_name_and_end_the_round_without_a_quorum(tmp_path, odd):
    make, message = ODD[odd]
    coordinator = Coordinator(RunFolder(tmp_path / "run", toy_config()), Scripted(make), SITES)
    with pytest.raises(QuorumLost, match=f"pretraining, round 0: .* 2 of 3 sites, 3 are needed .*{message}"):
        coordinator.run_rounds("pretraining", WEIGHTS, rate=0.1, steps=2, accumulate="sum")


@pytest.mark.parametrize("odd", ODD)
def test_the_round_goes_on_without_a_bad_update_where_enough_are_left(tmp_path, odd):
    """The result is that of the others alone; the record says what was refused and why."""
    make, _ = ODD[odd]
    config = toy_config(federated={"quorum": 2})
    run = RunFolder(tmp_path / "run", config)
    bad_once = lambda task: make(task) if task.round == 0 else update("b", task.round)  # noqa: E731
    weights = Coordinator(run, Scripted(bad_once), SITES).run_rounds(
        "pretraining", WEIGHTS, rate=0.1, steps=2, accumulate="mean"
    )
    np.testing.assert_allclose(weights["material/0"], -0.2, atol=1e-4)
    with open(run.path / "refused.csv", newline="") as file:
        heading, row = csv.reader(file)
    assert heading == ["task", "stage", "round", "site", "reason"]
    assert row[:4] == ["gradients", "pretraining", "0", "b"]


def test_norms_are_compared_with_those_of_the_others():
    """A site's own norm has no part in what is usual."""
    updates = [update("a"), update("b", value=201.0), update("c", value=3.0)]
    assert list(NormCheck(100.0).find_outliers(updates)) == ["b"]
    assert NormCheck(0.0).find_outliers(updates) == {}
    assert NormCheck(100.0).find_outliers([update("a"), update("b", value=199.0), update("c", value=3.0)]) == {}
    assert NormCheck(100.0).find_outliers([update("a", value=0.0), update("b", value=0.0), update("c")]) == {}


@pytest.mark.parametrize("others", [[], [("b", 1e-9)]])
def test_where_there_are_no_two_others_norms_are_compared_with_the_sites_own_last(others):
    norms, quiet = NormCheck(100.0), [update(name, value=value) for name, value in others]
    for value in (1.0, 1e9, *[1.0] * 9):  # nothing is usual before ten rounds
        assert norms.find_outliers([update("a", value=value), *quiet]) == {}
    assert norms.find_outliers([update("a", value=99.0), *quiet]) == {}
    assert list(norms.find_outliers([update("a", value=101.0), *quiet])) == ["a"]
    assert norms.find_outliers([dataclasses.replace(update("a", value=1e9), stage="another"), *quiet]) == {}


def test_norms_of_tiny_and_of_huge_gradients_are_told():
    assert update("a", value=1e-25).norm == pytest.approx(1e-25 * np.sqrt(10), rel=1e-5)
    assert np.isfinite(update("a", value=1e38).norm)


@pytest.mark.parametrize(
    ("count", "total", "outer", "message"),
    [
        (10**9, [0.0, 0.0], np.eye(2), "moments of 1000000000 volumes"),
        (3, [0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "not symmetric"),
        (3, [9.0, 0.0], np.eye(2), "negative variance"),
    ],
)
def test_moments_that_no_latents_have_are_refused(count, total, outer, message):
    moments = LatentStatistics(count, np.array(total), np.array(outer))
    with pytest.raises(InputError, match=message):
        SiteUpdate("a", "s", 0, count, latents=moments)


def test_updates_that_are_not_finite_cannot_be_made():
    with pytest.raises(InputError, match=r"gradient shape/0 of a: found NaN or infinity; expected finite values"):
        update(value=np.nan)
    with pytest.raises(InputError, match="latents of a: found NaN or infinity"):
        SiteUpdate("a", "", 0, 4, latents=LatentStatistics(4, np.full(2, np.inf), np.eye(2)))
    with pytest.raises(InputError, match=r"latents of a: found moments of shapes \(2,\), \(4, 2\)"):
        SiteUpdate("a", "", 0, 4, latents=LatentStatistics(4, np.zeros(2), np.zeros((4, 2))))


def test_an_update_can_hold_nothing_but_gradients_and_moments():
    names = {"site", "stage", "round", "count", "gradients", "latents", "encrypted"}
    assert {field.name for field in dataclasses.fields(SiteUpdate)} == names
    latents = np.zeros((4, 64), np.float32)
    with pytest.raises(InputError, match="latents of a"):
        SiteUpdate("a", "", 0, 4, {}, latents)
    with pytest.raises(InputError, match="gradient picture of a"):
        SiteUpdate("a", "", 0, 4, {"picture": [[1.0]]})
    with pytest.raises(dataclasses.FrozenInstanceError):
        update().images = latents


def test_pooled_moments_are_those_of_all_latents_together(rng):
    parts = [rng.standard_normal((n, 6)) for n in (4, 6, 12)]
    pooled = pool_moments([LatentStatistics.of(part) for part in parts])
    together = LatentStatistics.of(np.concatenate(parts)).distribution()
    np.testing.assert_allclose(pooled.mean, together.mean, atol=1e-12)
    np.testing.assert_allclose(pooled.covariance, together.covariance, atol=1e-12)


@pytest.mark.usefixtures("eagerly")
def test_a_sites_answers_have_the_shared_networks_shapes_only(tmp_path):
    """The server, which has no data, begins with the same weights as the sites."""
    federation = ToyFederation(tmp_path / "run", toy_config(), {"a": 0})
    site, learner = federation.sites["a"], federation.works["a"].learner
    before = dict(zip(learner.shared_names, (v.numpy() for v in learner.shared_variables), strict=True))
    assert list(before) == list(federation.start)
    for name, value in before.items():
        np.testing.assert_array_equal(value, federation.start[name])
    site.answer(Task("begin", "pretraining", 0, before))
    sent, losses = site.answer(Task("gradients", "pretraining", 0, before))
    assert {name: g.shape for name, g in sent.gradients.items()} == {n: w.shape for n, w in before.items()}
    assert (sent.site, sent.stage, sent.round, sent.count, sent.latents) == ("a", "pretraining", 0, 3, None)
    assert set(losses) == {"iou", "material_mse", "material_perceptual"}


@pytest.mark.usefixtures("eagerly")
def test_moments_of_too_few_latents_stay_at_the_site(tmp_path):
    """Two latents follow from their sum and the sum of their outer products; so do two that are the difference."""
    for minimum, labelled, together in ((3, 3, 3), (2, 3, 5), (4, None, 5), (6, None, None)):
        config = toy_config(federated={"latents_of": minimum})
        federation = ToyFederation(tmp_path / f"{minimum}", config, {"a": 0})
        federation.note_as_learnt("pretraining", "semi_supervised")
        site = federation.sites["a"]  # three annotated volumes, two not
        for with_unlabelled, count in ((False, labelled), (True, together)):
            update = site.answer(Task("latents", with_unlabelled=with_unlabelled)).update
            assert (update.latents.count if update.latents else None) == count
    federation = ToyFederation(tmp_path / "nobody", toy_config(federated={"latents_of": 6}), {"a": 0})
    with pytest.raises(InputError, match="latents: found no site that gives moments"):
        federation.coordinator.pool_latents(with_unlabelled=False)


@pytest.mark.usefixtures("eagerly")
def test_latents_that_were_never_learnt_have_no_part_in_the_pooled_moments(tmp_path):
    """The site was away while the others did, and its stage has ended without a step."""
    federation = ToyFederation(tmp_path / "run", toy_config(federated={"latents_of": 1}), {"a": 0})
    run, site, counts = federation.run.site("a"), federation.sites["a"], []
    for stage, steps in ((None, 0), ("pretraining", 0), ("pretraining", 3), ("semi_supervised", 0)):
        if stage:
            run.finish(stage, {"steps": steps})
        latents = site.answer(Task("latents", with_unlabelled=True)).update.latents
        counts.append(latents.count if latents else None)
    run.finish("semi_supervised", {"steps": 2})
    assert [*counts, site.answer(Task("latents", with_unlabelled=True)).update.latents.count] == [None, None, 3, 3, 5]


@pytest.mark.usefixtures("eagerly")
def test_a_server_that_has_lost_its_run_does_not_undo_what_a_site_has_learnt(tmp_path):
    federation = ToyFederation(tmp_path / "run", toy_config(**SHORT))
    federation.pretrain()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.rmtree(tmp_path / "run" / "stages")
    again = ToyFederation(tmp_path / "run", toy_config(**SHORT))
    with pytest.raises(InputError, match="found gan of an earlier run, while the server begins pretraining at 0"):
        again.pretrain()


def test_what_a_site_sends_besides_gradients_is_looked_at_too(tmp_path):
    """The site may have another version, or be none of this project."""

    def losses(value):
        return lambda task: Answers([Answer(update(name, task.round), {"iou": value}) for name in SITES], {})

    def moments(task):
        latents = LatentStatistics.of(np.eye(4, 5))
        return Answers([Answer(SiteUpdate(name, "", 0, 4, latents=latents), {}) for name in SITES], {})

    start = lambda exchange: Coordinator(RunFolder(tmp_path / "run", toy_config()), exchange, SITES)  # noqa: E731
    with pytest.raises(QuorumLost, match=r"loss iou of a: found 0.5; expected a finite number"):
        start(losses("0.5"))._ask(Task("gradients", "pretraining", 0, WEIGHTS))
    with pytest.raises(QuorumLost, match="moments of c: found latents of length 5; expected length 64"):
        start(moments).pool_latents(with_unlabelled=False)
    for count in (-1, "7", 2.5):
        with pytest.raises(InputError, match=r"count of a: found .*; expected a number of volumes"):
            SiteUpdate("a", "", 0, count)


def test_tasks_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(InputError, match="task: found 'give me all'; expected one of begin, gradients"):
        Task("give me all")
    site = Site("a", RunFolder(tmp_path / "run", toy_config()), work=None)
    with pytest.raises(InputError, match="task for a: found 'gradients' of pretraining; expected 'begin'"):
        site.answer(Task("gradients", "pretraining", 0, WEIGHTS))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"shape/0": None}, "weights for a: found"),
        ({"shape/0": np.zeros((2, 2), np.float32)}, r"weights shape/0 for a: found shape \(2, 2\)"),
        ({"shape/0": np.full((2, 3), np.nan, np.float32)}, "weights shape/0 for a: found .* nan"),
        ({"shape/0": np.ones((2, 3))}, "weights shape/0 for a: found float64; expected float32"),
    ],
)
def test_bad_weights_are_refused_at_a_site(bad, message):
    class Learner:
        shared_names = list(WEIGHTS)  # noqa: RUF012
        shared_variables = [np.zeros((2, 3)), np.zeros(4)]  # noqa: RUF012

    changed = {name: value for name, value in {**WEIGHTS, **bad}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        check_shared_weights(Learner(), changed, site="a")


@pytest.mark.usefixtures("eagerly")
def test_one_site_in_a_federation_learns_what_a_single_site_does(tmp_path):
    config = toy_config(**SHORT)
    alone = toy_learner(config)
    run = RunFolder(tmp_path / "alone", config)
    semi_supervise(run, alone, pretrain(run, alone))
    federation = ToyFederation(tmp_path / "federated", config, {"toy": 0})
    weights = federation.semi_supervise(federation.pretrain())
    learner = federation.works["toy"].learner
    for mine, other, sent in zip(alone.shared_variables, learner.shared_variables, weights.values(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(other, sent)
    for mine, other in zip(*(each.model.enhancer.get_weights() for each in (alone, learner)), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("eagerly")
def test_sites_share_weights_and_keep_the_rest(tmp_path):
    federation = ToyFederation(tmp_path / "run", toy_config(**SHORT))
    federation.semi_supervise(federation.pretrain())
    first, second = (work.learner for work in federation.works.values())
    assert isinstance(first, SiteLearner)
    for a, b in zip(first.shared_variables, second.shared_variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(first.model.enhancer.get_weights()[0] != second.model.enhancer.get_weights()[0])
    assert np.any(first.labelled_latents.table != second.labelled_latents.table)


@pytest.mark.usefixtures("eagerly")
def test_what_is_lost_between_a_sites_state_and_the_servers_is_done_again(tmp_path):
    """The server stops after the sites have kept round 2 and before it has: all begin again from round 0."""

    class Stopping:
        def __init__(self, sites):
            self._sites = sites

        def __call__(self, task):
            answers = [site.answer(task) for site in self._sites]
            if task.kind == "keep":
                raise KeyboardInterrupt
            return Answers(answers, {})

    config = toy_config()
    undisturbed = ToyFederation(tmp_path / "whole", config)
    undisturbed.note_as_learnt("pretraining")
    wanted = undisturbed.semi_supervise(undisturbed.start)
    stopped = ToyFederation(tmp_path / "stopped", config, exchange=Stopping)
    stopped.note_as_learnt("pretraining")
    with pytest.raises(KeyboardInterrupt):
        stopped.semi_supervise(stopped.start)
    resumed = ToyFederation(tmp_path / "stopped", config)
    found = resumed.semi_supervise(resumed.start)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-7)
    for name, work in undisturbed.works.items():
        mine, other = work.learner, resumed.works[name].learner
        np.testing.assert_allclose(other.labelled_latents.table, mine.labelled_latents.table, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(other.unlabelled_latents.table, mine.unlabelled_latents.table, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_a_site_that_missed_rounds_comes_back_with_its_latents_of_then(tmp_path):
    """Site b is away from round 2 to the end of the first start; at the next it takes the weights of now."""

    class Without:
        def __init__(self, sites):
            self._sites = sites

        def __call__(self, task):
            lacks_b = task.round >= 2
            there = [site for site in self._sites if not (lacks_b and site.name == "b")]
            return Answers([site.answer(task) for site in there], {"b": "b is away"} if lacks_b else {})

    config = toy_config(checkpoint_every=1, pretraining={"steps": 6}, federated={"quorum": 1})
    first = ToyFederation(tmp_path / "run", config, exchange=Without)
    with pytest.raises(Paused, match="pretraining, round 4"):
        first.pretrain(should_pause=lambda: (first.run.checkpoints("pretraining") / "step-4").exists())
    then = first.works["b"].learner.labelled_latents.table.numpy()
    back = ToyFederation(tmp_path / "run", config)
    weights = back.pretrain()
    learner = back.works["b"].learner
    for name, variable in zip(learner.shared_names, learner.shared_variables, strict=True):
        np.testing.assert_array_equal(variable, weights[name])
    steps = {site: {step for step, *_ in read_losses(back.run.site(site).losses("pretraining"))} for site in "ab"}
    assert steps == {"a": set(range(6)), "b": {0, 4, 5}}  # it had kept round 1
    assert 0 < np.abs(learner.labelled_latents.table.numpy() - then).max() < 0.5
    assert (tmp_path / "run" / "refused.csv").read_text().count("b is away") >= 3


@pytest.mark.usefixtures("eagerly")
def test_a_site_that_missed_rounds_ends_a_stage_with_noise_and_accounts_for_what_it_gave(tmp_path):
    config = toy_config(federated={"clip_norm": 1.0, "noise_multiplier": 4.0})
    federation = ToyFederation(tmp_path, config, {"a": 0})
    site = federation.sites["a"]
    answer = InProcess([site])
    answer(Task("begin", "pretraining", 0, federation.start))
    for number in (0, 1, 10):
        answer(Task("gradients", "pretraining", number, federation.start))
    answer(Task("end", "pretraining", 11, federation.start))
    record = read_json(next(tmp_path.rglob("privacy.json")))
    assert record["rounds"] == 3
