"""A site against servers that ask for more than their job says."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.federated.adam_reach import measure_reach
from fedsim_tf.federated.guard import Guard, StagePlan
from fedsim_tf.federated.message import answer_to_message
from fedsim_tf.federated.privacy_account import (
    MOMENTS_SHARE,
    ROUND_SHARE,
    Budget,
    compute_cost,
    compute_epsilon,
    list_answers_sent,
    sum_shares,
)
from fedsim_tf.federated.server import Server
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import Task
from fedsim_tf.federated.update import SiteUpdate
from fedsim_tf.files import read_json, read_npz, write_npz
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.run import RunFolder
from tests.federated.squares import LENGTH, STAGE, Squares
from tests.training.toy_site import toy_config

RATE, STEPS, LATENT = 0.1, 8, 64
NOISY = {"clip_norm": 1.0, "noise_multiplier": 2.0}


class Work:
    """Squares whose checkpoints hold the shared weights too; `asked` counts how often moments were measured."""

    shared_shapes = {"shape/0": (LENGTH,)}  # noqa: RUF012

    def __init__(self):
        self.squares, self.measured, self.unannotated = Squares("a"), 0, 4

    def begin(self, stage, distribution):
        squares = self.squares
        type(squares).objects = property(lambda self: {"own": self.own, "shared": self.shared_variables[0]})
        return squares

    def work_alone(self, name, distribution):
        pass

    def count_volumes(self):
        return 8

    def measure_latents(self, *, with_unlabelled, largest_norm=0.0):
        self.measured += 1
        latents = self.measured + np.eye(4 + with_unlabelled * self.unannotated, LATENT)
        return LatentStatistics.of(latents, largest_norm=largest_norm)


class Tasks:
    """The tasks of an honest server to one site, from which a test deviates."""

    def __init__(self, folder, *, most_epsilon=0.0, **federated):
        self.folder, self.config, self.most_epsilon = folder, toy_config(federated=federated), most_epsilon
        self.server = Server({"shape/0": np.zeros(LENGTH, np.float32)}, rate=RATE, steps=STEPS, accumulate="sum")
        self.weights = [self.server.weights]  # before each round
        self.restart()

    def restart(self):
        """A new process of the site, as in another job."""
        self.work, run = Work(), RunFolder(self.folder, self.config)
        plan = {STAGE: StagePlan(STEPS, RATE)}
        guard = Guard("a", run, plan, latent=LATENT, latent_reach=50.0, last_work="comparison")
        budget = Budget(self.folder.parent, self.most_epsilon, self.config.federated.noise_multiplier)
        self.site = Site("a", run, self.work, budget, guard)

    def ask(self, kind, number=0, weights=None, *, leaves=True, **fields):
        """Return the answer to a task; `leaves`: or the process is killed before it is on its way."""
        given = self.weights[min(number, len(self.weights) - 1)] if weights is None else weights
        task = Task(kind, STAGE, number, given if kind != "latents" else {}, **fields)
        task = task if kind != "latents" else dataclasses.replace(task, stage="", round=0)
        answer = self.site.answer(task)
        if leaves:
            self.site.outbox.let_pass(answer_to_message(task, answer))
        return answer

    def round(self, number, *, leaves=True):
        update = self.ask("gradients", number, leaves=leaves).update
        if len(self.weights) == number + 1:
            self.server.step([update])
            self.weights.append(self.server.weights)
        return update.gradients["shape/0"]

    def rounds(self, first, last):
        return [self.round(number) for number in range(first, last)]

    def states(self):
        return sorted(path.name for path in (self.folder / "checkpoints" / STAGE).iterdir())


@pytest.fixture
def server(tmp_path):
    return Tasks(tmp_path / "run")


def test_an_honest_server_is_answered_to_the_end(server):
    server.ask("begin")
    server.rounds(0, 4)
    server.ask("keep", 4)
    server.rounds(4, STEPS)
    server.ask("end", STEPS)
    assert server.ask("latents").update.latents.count == 4
    assert read_json(server.folder / "stages" / f"{STAGE}.json")["moved"] == STEPS


OUT_OF_TURN = {
    "a round before the beginning": (lambda s: s.ask("gradients", 0), "'begin' comes before it"),
    "a later round": (lambda s: (s.ask("begin"), s.ask("gradients", 1)), "round 0 of 8 is next"),
    "a round that was left out": (lambda s: (s.ask("begin", 2), s.ask("gradients", 0)), "round 2 is next"),
    "a round after the last": (lambda s: (s.ask("begin", 7), s.round(7), s.ask("gradients", 8)), "round 8 of 8"),
    "a begin after the last round": (lambda s: s.ask("begin", STEPS), "the stage has rounds 0 to 7"),
    "a begin of another stage": (
        lambda s: s.site.answer(Task("begin", "gan", 0, s.weights[0])), "a stage that the job does not have"),
    "a second begin": (lambda s: (s.ask("begin"), s.round(0), s.ask("begin")), "squares has begun in this job already"),
    "an early end": (lambda s: (s.ask("begin"), s.rounds(0, 3), s.ask("end", 3)), "it ends after 8 rounds"),
    "an end without its rounds": (lambda s: (s.ask("begin"), s.rounds(0, 3), s.ask("end", STEPS)), "after 8 rounds"),
    "a state of another round": (lambda s: (s.ask("begin"), s.rounds(0, 3), s.ask("keep", 1)), "3 rounds are done"),
    "a round that is no number": (lambda s: s.ask("begin", True), "a round that is no number"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUT_OF_TURN)
def test_what_is_out_of_turn_is_refused(server, case):
    ask, message = OUT_OF_TURN[case]
    with pytest.raises(InputError, match=f"task for a: found .*{message}"):
        ask(server)


def test_a_begin_whose_acknowledgement_was_lost_may_come_again(server):
    server.ask("begin")
    server.ask("begin")
    server.round(0)


def test_a_round_has_one_answer_in_one_process_and_after_a_crash(tmp_path):
    """Noise is drawn anew for whatever is computed anew: the mean of many answers would be the gradient."""
    server = Tasks(tmp_path / "run", **NOISY)
    server.ask("begin")
    first = server.rounds(0, 2)
    own = server.work.squares.own.numpy()
    np.testing.assert_array_equal(server.round(1), first[1])
    np.testing.assert_array_equal(server.work.squares.own, own)  # nothing was computed again
    server.ask("keep", 2)
    later = server.rounds(2, 5)
    own = server.work.squares.own.numpy()
    server.restart()
    server.ask("begin", 2)
    for number in (2, 3, 4):
        np.testing.assert_array_equal(server.round(number), later[number - 2])
    np.testing.assert_array_equal(server.work.squares.own, own)  # the site's own part goes through the rounds again
    fresh = server.round(5)
    assert np.abs(fresh - later[2]).max() > 0.1


def epsilon_of(shares):
    return compute_epsilon(compute_cost(NOISY["noise_multiplier"], shares))


def test_answers_that_a_crash_repeats_are_paid_for_once(tmp_path):
    server = Tasks(tmp_path / "run", most_epsilon=epsilon_of(4.5 * ROUND_SHARE), **NOISY)
    server.ask("begin")
    server.rounds(0, 3)
    for _ in range(2):
        server.restart()
        server.ask("begin")
        server.rounds(0, 3)
    assert sum_shares(list_answers_sent(server.folder)) == pytest.approx(3 * ROUND_SHARE)
    server.round(3)
    with pytest.raises(InputError, match="with this answer; expected at most"):
        server.round(4)


def test_an_answer_that_was_kept_and_never_left_is_paid_for_when_it_does(tmp_path):
    server = Tasks(tmp_path / "run", most_epsilon=epsilon_of(1.5 * ROUND_SHARE), **NOISY)
    server.ask("begin")
    server.ask("gradients", leaves=False)
    server.restart()
    server.ask("begin")
    server.round(0)
    with pytest.raises(InputError, match="with this answer; expected at most"):
        server.round(1)


def test_answers_from_before_a_state_that_never_left_are_paid_for_once_when_they_do(tmp_path):
    """The site goes through none of these rounds again."""
    server = Tasks(tmp_path / "run", most_epsilon=epsilon_of(5.5 * ROUND_SHARE), **NOISY)
    server.ask("begin")
    for number in range(5):
        server.round(number, leaves=False)
    server.ask("keep", 5)
    server.restart()
    server.ask("begin", 5)
    for _ in range(2):
        server.rounds(0, 5)
    with pytest.raises(InputError, match="with this answer; expected at most"):
        server.round(5)
    server.restart()
    server.ask("begin", 5)
    server.rounds(0, 5)  # which have left now
    assert sum_shares(list_answers_sent(server.folder)) == pytest.approx(5 * ROUND_SHARE)


def test_an_answer_that_never_left_stays_where_the_budget_has_not_enough_for_it(tmp_path):
    server = Tasks(tmp_path / "run", **NOISY)
    server.ask("begin")
    for number in range(2):
        server.round(number, leaves=False)
    server.ask("keep", 2)
    server.most_epsilon = epsilon_of(1.5 * ROUND_SHARE)
    server.restart()
    server.ask("begin", 2)
    server.round(1)
    with pytest.raises(InputError, match="with this answer; expected at most"):
        server.round(0)
    server.round(1)


def test_moments_that_never_left_are_paid_for_once_when_they_do(tmp_path):
    server = Tasks(tmp_path / "run", most_epsilon=epsilon_of(STEPS * ROUND_SHARE + 2.5 * MOMENTS_SHARE), **NOISY)
    server.ask("begin")
    server.rounds(0, STEPS)
    server.ask("end", STEPS)
    first = server.ask("latents", leaves=False).update.latents
    server.restart()
    for _ in range(3):
        np.testing.assert_array_equal(server.ask("latents", leaves=False).update.latents.sum, first.sum)
    server.ask("end", STEPS)
    assert server.ask("latents", with_unlabelled=True).update.latents is not None


def make_as_before(folder, names):
    """Make kept answers those of a version that had noise on gradients alone, and did not say so."""
    for file in (folder / "answers").rglob(names):
        arrays = read_npz(file, texts=("message",))
        text = json.loads(str(arrays.pop("message")))
        text.pop("noise", None)
        write_npz(file, {**arrays, "message": np.array(json.dumps(text))})


def test_answers_that_a_version_without_their_noise_has_kept_are_not_given_again(tmp_path):
    """The losses of rounds, also of those before the last state, and moments: they are there as they were."""
    server = Tasks(tmp_path / "run", **NOISY)
    server.ask("begin")
    server.rounds(0, 3)
    server.ask("keep", 3)
    server.round(3)
    make_as_before(server.folder, "round-*")
    server.restart()
    server.ask("begin", 3)
    wanted = "found an answer that was made with no noise .*; expected clip_norm 1, .*: begin a run of another name"
    for number in (2, 3):
        with pytest.raises(InputError, match=wanted):
            server.round(number)
    for file in (server.folder / "answers").rglob("round-*"):
        file.unlink()
    with pytest.raises(InputError, match="its answer to round 3 of squares has left before"):
        server.round(3)


def test_moments_that_a_version_without_their_noise_has_kept_are_not_given_again(tmp_path):
    server = Tasks(tmp_path / "run", **NOISY)
    server.ask("begin")
    server.rounds(0, STEPS)
    server.ask("end", STEPS)
    server.ask("latents")
    make_as_before(server.folder, "moments-*")
    server.restart()
    with pytest.raises(InputError, match=r"moments-annotated\.npz: found an answer that was made with no noise"):
        server.ask("latents")


def test_answers_that_a_version_of_before_has_kept_are_given_again_where_nothing_is_promised(server):
    server.ask("begin")
    first = server.round(0)
    make_as_before(server.folder, "round-*")
    server.restart()
    server.ask("begin")
    np.testing.assert_array_equal(server.round(0), first)


def test_a_round_whose_answer_is_not_kept_any_more_is_not_answered_again(server):
    """Whoever deletes the kept answers does not make the site compute them anew."""
    server.ask("begin")
    server.rounds(0, 2)
    for file in (server.folder / "answers").rglob("round-*"):
        file.unlink()
    server.restart()
    server.ask("begin")
    with pytest.raises(InputError, match="found that its answer to round 0 of squares has left before"):
        server.round(0)


def test_answers_are_kept_until_no_state_is_left_to_begin_before_them(server):
    kept = lambda: sorted(int(file.stem[6:]) for file in (server.folder / "answers").rglob("round-*"))  # noqa: E731
    server.ask("begin")
    server.rounds(0, 2)
    server.ask("keep", 2)
    assert kept() == [0, 1]  # the server may be killed before it has kept its own first state
    server.rounds(2, 4)
    server.ask("keep", 4)
    assert kept() == [2, 3]


def test_a_server_that_begins_lower_and_lower_deletes_no_state(server):
    server.ask("begin")
    server.rounds(0, 2)
    server.ask("keep", 2)
    server.rounds(2, 4)
    server.ask("keep", 4)
    own = server.work.squares.own.numpy()
    for number in (3, 2, 1, 0):
        server.restart()
        if number > 1:
            server.ask("begin", number)
        else:
            with pytest.raises(InputError, match="states of steps 2, 4, while the server begins at"):
                server.ask("begin", number)
    assert server.states() == ["aside-step-4", "step-2"]
    server.restart()
    server.ask("begin", 4)
    np.testing.assert_array_equal(server.work.squares.own, own)


def test_moments_are_given_once_and_of_the_end_of_a_stage_alone(server):
    """Also in other jobs; the second answer is the first one."""
    given = lambda: server.ask("latents").update.latents  # noqa: E731
    assert given() is None
    server.ask("begin")
    server.rounds(0, STEPS)
    assert given() is None
    server.ask("end", STEPS)
    first = given()
    all_of_them = server.ask("latents", with_unlabelled=True).update.latents
    assert (first.count, all_of_them.count) == (4, 8)
    for _ in range(2):
        np.testing.assert_array_equal(given().sum, first.sum)
        np.testing.assert_array_equal(server.ask("latents", with_unlabelled=True).update.latents.sum, all_of_them.sum)
        server.restart()  # it has its networks as they are at first, and its answers
    assert server.work.measured == 0


def test_moments_with_noise_are_drawn_once_and_paid_for_once(tmp_path, caplog):
    """Where the budget has nothing left for others, the site goes on without."""
    most = epsilon_of(STEPS * ROUND_SHARE + 1.5 * MOMENTS_SHARE)
    server = Tasks(tmp_path / "run", most_epsilon=most, **NOISY)
    server.ask("begin")
    server.rounds(0, STEPS)
    server.ask("end", STEPS)
    sent = server.ask("latents").update.latents
    for _ in range(2):
        again = server.ask("latents").update.latents
        np.testing.assert_array_equal(again.sum, sent.sum)
        np.testing.assert_array_equal(again.sum_outer, sent.sum_outer)
        server.restart()
    assert sum_shares(list_answers_sent(server.folder)) == pytest.approx(STEPS * ROUND_SHARE + MOMENTS_SHARE)
    server.ask("end", STEPS)
    assert server.ask("latents", with_unlabelled=True).update.latents is None
    assert "a sends no moments of latents: what the runs in" in caplog.text
    server.site.answer(Task("alone", "samples"))
    told = read_json(server.folder / "privacy.json")
    assert (told["rounds"], told["moments"]) == (STEPS, 1)
    assert told["epsilon"] == pytest.approx(epsilon_of(STEPS * ROUND_SHARE + MOMENTS_SHARE))


def test_what_is_sent_has_noise_only_where_that_was_asked_for(tmp_path):
    """The same latents and losses; clipping alone changes neither."""
    sent = {}
    for name, federated in (("bare", {}), ("clipped", {"clip_norm": 1.0}), ("noisy", NOISY)):
        server = Tasks(tmp_path / name / "run", **federated)
        server.ask("begin")
        losses = server.ask("gradients", 0).losses
        own = server.work.squares.own.numpy()
        server.rounds(1, STEPS)
        server.ask("end", STEPS)
        sent[name] = losses["square"], server.ask("latents").update.latents.sum, own
    assert sent["clipped"][0] == sent["bare"][0] != sent["noisy"][0]
    np.testing.assert_array_equal(sent["clipped"][1], sent["bare"][1])
    assert np.all(sent["noisy"][1] != sent["bare"][1])
    np.testing.assert_array_equal(sent["noisy"][2], sent["bare"][2])


def test_a_site_without_unannotated_volumes_gives_the_moments_of_either_stage(server):
    """Its annotated latents move in the last stage, too, from which shapes are drawn."""
    server.work.unannotated = 0
    server.ask("begin")
    server.rounds(0, STEPS)
    server.ask("end", STEPS)
    first, last = (server.ask("latents", with_unlabelled=flag).update.latents for flag in (False, True))
    np.testing.assert_allclose(last.sum, first.sum + 2 * 4)  # measured twice more, each time one larger
    np.testing.assert_array_equal(server.ask("latents", with_unlabelled=True).update.latents.sum, last.sum)


def test_answers_are_deleted_when_no_round_can_come_again(server):
    server.ask("begin")
    server.rounds(0, STEPS)
    server.ask("end", STEPS)
    server.site.answer(Task("alone", "samples"))
    assert len(list(server.folder.rglob("round-*.npz"))) == STEPS
    server.site.answer(Task("alone", "comparison"))
    assert not list(server.folder.rglob("round-*.npz"))
    server.restart()
    with pytest.raises(InputError, match="its answer to round 0 of squares has left before"):
        server.ask("begin")
        server.ask("gradients", 0)


def test_a_site_whose_last_state_is_lost_gives_no_moments(server, caplog):
    server.ask("begin")
    server.rounds(0, 4)
    server.ask("keep", 4)
    server.rounds(4, STEPS)
    server.ask("end", STEPS)
    (server.folder / "checkpoints" / STAGE / "step-8" / "state.index").unlink()
    server.restart()
    server.ask("end", STEPS)
    assert "a, squares: goes on from its own state of round 4, as it has none of round 8" in caplog.text
    assert server.ask("latents").update.latents is None


@pytest.mark.parametrize("gradients", ["constant", "alternating", "growing", "sparse", "random"])
def test_adams_steps_stay_within_the_reach(gradients, rng):
    """Of a real optimizer, for gradients of many kinds."""
    count = 60
    numbers = np.arange(count)[:, None]
    values = {
        "constant": np.ones((count, 3)) * [1, -1e4, 1e-3],
        "alternating": np.where(numbers % 2, 1.0, -1.0) * np.ones(3),
        "growing": (0.999 / 0.9) ** numbers * [1.0, -2.0, 1e-2],
        "sparse": np.where(numbers % 30 == 29, 1.0, 0.0) * np.ones(3),
        "random": rng.standard_cauchy((count, 3)),
    }[gradients]
    weights = tf.Variable(np.zeros(3, np.float32))
    optimizer = adam(RATE, [weights], steps=count)
    before = weights.numpy()
    for number, value in enumerate(values):
        optimizer.apply_gradients([(tf.constant(value, tf.float32), weights)])
        step = np.abs(weights.numpy() - before).max()
        reach = measure_reach(RATE, count, first=number, last=number + 1)
        assert step <= reach + 1e-6
        assert step > 0.98 * reach or gradients != "growing"  # for which no bound is smaller
        before = weights.numpy()


def test_the_first_step_is_the_rate_and_later_ones_seven_times_it_at_most():
    assert measure_reach(0.1, None, first=0, last=1) == pytest.approx(0.1, rel=2e-3)
    assert measure_reach(0.1, None, first=10**5, last=10**5 + 1) == pytest.approx(0.727, rel=2e-3)
    assert measure_reach(0.1, 10, first=10, last=12) == measure_reach(0.1, 10, first=3, last=3) == 0.0


BAD_WEIGHTS = {
    "too far": lambda w: w + np.float32(3 * RATE),
    "of another round": lambda w: np.zeros_like(w) + np.float32(5 * RATE),
    "not finite": lambda w: np.full_like(w, np.inf),
    "of another shape": lambda w: w[:2],
    "of another type": lambda w: w.astype(np.float64),
}


@pytest.mark.parametrize("case", BAD_WEIGHTS)
def test_weights_that_the_jobs_rate_cannot_make_are_refused(server, case):
    server.ask("begin")
    server.round(0)
    bad = {"shape/0": BAD_WEIGHTS[case](server.weights[1]["shape/0"])}
    with pytest.raises(InputError, match="weights shape/0 for a: found"):
        server.ask("gradients", 1, bad)
    np.testing.assert_array_equal(server.work.squares.shared_variables[0], server.weights[0]["shape/0"])
    server.restart()
    far = {"shape/0": np.full(LENGTH, 1e6, np.float32)}
    with pytest.raises(InputError, match=r"found a move by 1e\+06 in 0 rounds of squares; expected at most 0"):
        server.ask("begin", 0, far)
    with pytest.raises(InputError, match="'begin' comes before it"):
        server.ask("gradients", 0)


NORMALS = {
    "a length of another latent": (np.zeros(3), np.eye(3), "found shapes"),
    "a mean that no latents have": (np.full(LATENT, 51.0), np.eye(LATENT), "found latents of size 51"),
    "a variance that none have": (np.zeros(LATENT), 1e300 * np.eye(LATENT), "found latents of size 7.07e.149"),
    "infinity": (np.zeros(LATENT), np.full((LATENT, LATENT), np.inf), "found NaN or infinity"),
    "no symmetry": (np.zeros(LATENT), np.tri(LATENT), "found a covariance that is not symmetric"),
    "a negative variance": (np.zeros(LATENT), -np.eye(LATENT), "found a negative variance"),
}


@pytest.mark.parametrize("case", NORMALS)
def test_a_normal_that_no_learnt_latents_have_is_refused(server, case):
    mean, covariance, message = NORMALS[case]
    for kind in ("begin", "alone"):
        with pytest.raises(InputError, match=f"normal of latents for a: {message}"):
            server.ask(kind, distribution=LatentDistribution(mean, covariance))


def test_an_update_that_was_kept_is_read_as_it_was(tmp_path, rng):
    from fedsim_tf.federated.ledger import Ledger
    from fedsim_tf.federated.task import Answer

    gradients = {"shape/0": rng.standard_normal(3).astype(np.float32)}
    answer = Answer(SiteUpdate("a", "segmentation/x", 3, 7, gradients), {"iou": 1 / 3})
    Ledger("a", tmp_path, noise={}).keep_round(Task("gradients", "segmentation/x", 3), answer)
    found = Ledger("a", tmp_path, noise={}).find_round("segmentation/x", 3)
    np.testing.assert_array_equal(found.update.gradients["shape/0"], gradients["shape/0"])
    assert (found.update.count, found.losses) == (7, {"iou": 1 / 3})
    (file,) = tmp_path.rglob("round-*")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="a damaged file"):
        Ledger("a", tmp_path, noise={}).find_round("segmentation/x", 3)
