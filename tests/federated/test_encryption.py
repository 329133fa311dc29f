"""Rounds in which the server adds up what it cannot read."""

import dataclasses
import shutil
import subprocess
import sys

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.federated.coordinator import Coordinator, Paused, QuorumLost
from fedsim_tf.federated.encryption.encrypted_rounds import EncryptedCoordinator
from fedsim_tf.federated.encryption.encrypting_site import EncryptingSite
from fedsim_tf.federated.encryption.shared_state import SharedState
from fedsim_tf.federated.encryption.sum_cipher import SLOTS, SumCipher, make_contexts
from fedsim_tf.federated.guard import Guard, StagePlan
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.message import Message, answer_to_message
from fedsim_tf.federated.privacy_account import list_answers_sent
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.task import BEGIN, GRADIENTS, LATENTS, Task
from fedsim_tf.federated.wire_record import SENT, read_wire_record
from fedsim_tf.files import read_npz
from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.training.run import RunFolder
from tests.federated.squares import LENGTH, STAGE, Squares, ToyWork
from tests.federated.tenseal_for_tests import need_tenseal
from tests.training.toy_site import toy_config

need_tenseal()


@pytest.fixture(scope="module")
def contexts():
    return make_contexts()


@pytest.fixture(scope="module")
def at_site(contexts):
    return SumCipher(contexts[0])


@pytest.fixture(scope="module")
def at_server(contexts):
    return SumCipher(contexts[1])


def arrays(seed, count=SLOTS + 100):
    """Arrays of two names, with values from 1e-9 to 10."""
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(count) * 10.0 ** rng.uniform(-9, 1, count)).astype(np.float32)
    return {"shape/0": values[:-6].reshape(-1, 2), "material/0": values[-6:]}


def shapes(of):
    return {name: value.shape for name, value in of.items()}


def test_a_sum_of_ciphertexts_is_the_sum(at_site, at_server):
    """Digit for digit, and 0 where it is 0: Adam would find a direction in anything else."""
    plain = [arrays(seed) for seed in range(3)]
    for one in plain:
        one["shape/0"][::7] = 0
    total = at_server.add([at_site.encrypt(one) for one in plain])
    found = at_site.decrypt(total, shapes(plain[0]))
    for name in plain[0]:
        expected = np.sum([one[name].astype(np.float64) for one in plain], axis=0).astype(np.float32)
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-13)
    assert not found["shape/0"][::7].any()


def test_contexts_can_be_made_in_a_process_that_has_loaded_tensorflow():
    """With TensorFlow 2.21 TenSEAL called TensorFlow's protocol buffers instead of its own, and the process crashed."""
    code = (
        "import tensorflow; from fedsim_tf.federated.encryption.sum_cipher import SumCipher, make_contexts; "
        "print([SumCipher(one).has_key for one in make_contexts()])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[True, False]"), done.stderr[-500:]


def test_the_server_cannot_read(at_site, at_server):
    one = arrays(0)
    with pytest.raises(ValueError, match="secret_key"):
        at_server.decrypt(at_site.encrypt(one), shapes(one))
    assert at_site.has_key
    assert not at_server.has_key


def test_what_is_no_ciphertext_of_these_values_is_refused(at_site, at_server):
    encrypted = at_site.encrypt(arrays(0))
    count = SLOTS + 100
    at_server.check(encrypted, count=count, of="a")
    cases = {
        "1 parts; expected 2": {"00000": encrypted["00000"]},
        "bytes that are no ciphertext": {**encrypted, "00001": encrypted["00001"][:50]},
        "100 values in part 00000": {"00000": encrypted["00001"], "00001": encrypted["00000"]},
    }
    for words, wrong in cases.items():
        with pytest.raises(InputError, match=f"what a encrypted: found {words}"):
            at_server.check(wrong, count=count, of="a")
    with pytest.raises(InputError, match=r"found values too large to encrypt; expected at most 1\.04858e\+06"):
        at_site.encrypt({"shape/0": np.full(3, 1e7, np.float32)})
    with pytest.raises(InputError, match="context of encryption"):
        SumCipher(b"no context")


NAMES, LAST, STEPS, RATE = ("a", "b", "c"), "more squares", 5, 0.1
PLAN = {STAGE: StagePlan(STEPS, RATE, "sum"), LAST: StagePlan(STEPS, RATE, "mean")}
FIRST = {"shape/0": np.zeros(LENGTH, np.float32)}
STARTS = {STAGE: FIRST, LAST: {}}


class TwiceSquares(Squares):
    """Squares whose checkpoints hold the shared weights too, as those of networks do."""

    @property
    def objects(self):
        return {"own": self.own, "shared": self.shared_variables[0]}


class TwoStages(ToyWork):
    """Squares twice over, with latents of the site's own."""

    def __init__(self, site):
        super().__init__(site)
        self.squares = TwiceSquares(site)
        self.latents = np.random.default_rng(ord(site)).standard_normal((5, 64))
        self.given = []

    def begin(self, stage, distribution):
        self.squares.name = stage
        self.given.append(distribution)
        return self.squares

    def work_alone(self, name, distribution):
        self.given.append(distribution)

    def measure_latents(self, *, with_unlabelled, largest_norm=0.0):
        return LatentStatistics.of(self.latents)


class Federation:
    """Sites of a moment's work, guarded as at hospitals, and the server between them; a new one is a new process.

    Attributes:
      passed: tasks with their answers.
    """

    def __init__(self, folder, contexts=None, sites=NAMES):
        encrypt = contexts is not None
        self.run = RunFolder(folder, toy_config(federated={"sites": NAMES, "encrypt": encrypt}))
        of_sites, self.cipher = map(SumCipher, contexts) if encrypt else (None, None)
        self.works = {name: TwoStages(name) for name in sites}
        self.sites = {name: self.open(name, of_sites) for name in sites}
        self.away, self.passed = {}, []

    def open(self, name, cipher):
        run = self.run.site(name)
        guard = Guard(name, run, PLAN, latent=64, latent_reach=50.0, last_work="comparison")
        site = Site(name, run, self.works[name], guard=guard, cipher=cipher)
        return EncryptingSite(site, SharedState(run, PLAN, cipher, n_sites=len(NAMES)), cipher) if cipher else site

    def exchange(self, task):
        answers = InProcess(list(self.sites.values()))(task)._replace(missing=self.away)
        self.passed.append((task, answers))
        return answers

    def coordinator(self, **given):
        parts = (self.run, self.exchange, NAMES)
        return EncryptedCoordinator(*parts, self.cipher, **given) if self.cipher else Coordinator(*parts, **given)

    def learn(self, stages=PLAN, **given):
        """Run stages; the weights after the last one, as the server has them."""
        coordinator, found = self.coordinator(**given), {}
        for stage in stages:
            plan = PLAN[stage]
            found = coordinator.run_rounds(
                stage, STARTS[stage] or found, rate=plan.rate, steps=plan.steps, accumulate=plan.accumulate
            )
        return found

    def weights(self, name, stage=LAST):
        return read_npz(self.run.site(name).path / "shared" / f"{stage}.npz")["shape/0"]


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The weights that a server which sees everything has after both stages."""
    return Federation(tmp_path_factory.mktemp("plain") / "run").learn()["shape/0"]


@pytest.fixture
def federation(tmp_path, contexts):
    return Federation(tmp_path / "run", contexts)


def test_sites_learn_what_a_server_would_and_the_server_reads_nothing(federation, plain):
    assert federation.learn() == {}
    assert np.abs(plain - FIRST["shape/0"]).max() > 0.3
    for name in NAMES:
        np.testing.assert_allclose(federation.weights(name), plain, atol=1e-5)
    (first, _), *others = federation.passed
    assert (first.kind, first.round) == (BEGIN, 0)
    np.testing.assert_array_equal(first.weights["shape/0"], FIRST["shape/0"])  # from the seed, which is no secret
    for task, answers in others:
        assert not task.weights
        assert not any(answer.update.gradients for answer in answers.received)
    rounds = [answers.received for task, answers in federation.passed if task.kind == GRADIENTS]
    assert len(rounds) == 2 * STEPS
    assert all(answer.update.encrypted for received in rounds for answer in received)


def test_sites_draw_from_the_normal_of_all_latents_and_the_server_reads_no_moments(federation):
    coordinator, plan = federation.coordinator(), PLAN[STAGE]
    coordinator.run_rounds(STAGE, FIRST, rate=RATE, steps=plan.steps, accumulate=plan.accumulate)
    pooled = coordinator.pool_latents(with_unlabelled=False)
    assert pooled.distribution is None
    _, answers = federation.passed[-1]
    assert all(one.update.latents is None and one.update.encrypted for one in answers.received)
    plan = PLAN[LAST]
    coordinator.run_rounds(LAST, {}, rate=RATE, steps=plan.steps, accumulate=plan.accumulate, latents=pooled)
    coordinator.work_alone("comparison", pooled)
    expected = LatentStatistics.of(np.concatenate([work.latents for work in federation.works.values()])).distribution()
    for work in federation.works.values():
        none, *drawn = work.given
        assert (none, len(drawn)) == (None, 2)
        for normal in drawn:
            np.testing.assert_allclose(normal.mean, expected.mean, atol=1e-6)
            np.testing.assert_allclose(normal.covariance, expected.covariance, atol=1e-6)
    told = (task for task, _ in federation.passed)
    assert not any(task.distribution for task in told)


def test_moments_of_too_few_latents_do_not_leave_even_if_they_are_encrypted(federation, at_site):
    words = {"kind": LATENTS, "stage": "", "round": 0}
    encrypted = {f"encrypted/{name}": part for name, part in at_site.encrypt({"sum": np.ones(3, np.float32)}).items()}
    outbox, least = federation.sites["a"].outbox, federation.run.config.federated.latents_of
    outbox.check(Message({**words, "count": least}, encrypted, {}))
    with pytest.raises(InputError, match="an array 'encrypted/00000' in an answer to 'latents'"):
        outbox.check(Message({**words, "count": least - 1}, encrypted, {}))
    with pytest.raises(InputError, match="an array 'latents/sum' that is not encrypted"):
        outbox.check(Message({**words, "count": least}, {"latents/sum": np.ones(64)}, {}))


def test_a_run_that_was_stopped_goes_on_from_its_checkpoint(tmp_path, contexts, plain):
    """After two rounds, then after one of the stages, each time in new processes."""
    with pytest.raises(Paused):
        Federation(tmp_path / "run", contexts).learn(should_pause=lambda: True)
    again = Federation(tmp_path / "run", contexts)
    again.learn([STAGE])
    assert [task.round for task, _ in again.passed if task.kind == GRADIENTS] == [2, 3, 4]
    np.testing.assert_array_equal(again.passed[0][0].weights["shape/0"], FIRST["shape/0"])  # not those of round 2
    Federation(tmp_path / "run", contexts).learn()
    Federation(tmp_path / "run", contexts).learn()  # which is finished
    for name in NAMES:
        np.testing.assert_allclose(Federation(tmp_path / "run", contexts).weights(name), plain, atol=1e-5)


def test_an_answer_that_is_encrypted_anew_is_the_same_answer_to_the_account(tmp_path, contexts):
    """In one process and, after a crash of the site, in another: the values are the same, the ciphertexts are not."""
    folder, sent = tmp_path / "run", []
    for times in (2, 1):
        site = Federation(folder, contexts).sites["a"]
        site.answer(Task(BEGIN, STAGE, 0, FIRST))
        for _ in range(times):
            message = answer_to_message(task := Task(GRADIENTS, STAGE, 0), site.answer(task))
            sent.append(site.outbox.let_pass(message).digest)
    own = Federation(folder, contexts).run.site("a").path
    rows = [row for row in read_wire_record(own, SENT) if row.arrays]
    assert len(set(sent)) == len(rows) == 3
    assert len({row.digest for row in rows} - set(sent)) == 1
    assert len(list_answers_sent(own)) == 1


def test_a_site_that_has_lost_its_state_does_not_go_on(tmp_path, contexts):
    begun = Federation(tmp_path / "run", contexts)
    with pytest.raises(Paused):
        begun.learn(should_pause=lambda: True)
    shutil.rmtree(begun.run.site("b").path / "shared")
    with pytest.raises(InputError, match="found the shared weights after 0 rounds of squares; expected those after 2"):
        Federation(tmp_path / "run", contexts).learn()
    with pytest.raises(InputError, match="found no shared weights after squares; expected a site that has taken part"):
        Federation(tmp_path / "late", contexts).sites["a"].answer(Task(BEGIN, LAST, 0))


def test_sums_come_in_order_and_count_once(federation, at_site):
    site = federation.sites["a"]
    early = Task(GRADIENTS, STAGE, 1, encrypted={"00000": np.zeros(9, np.uint8)})
    with pytest.raises(InputError, match="found 'gradients' of squares; expected 'begin' of it before"):
        site.answer(early)
    site.answer(Task(BEGIN, STAGE, 0, FIRST))
    first = site.answer(Task(GRADIENTS, STAGE, 0)).update.encrypted
    with pytest.raises(InputError, match="round 2 of squares; expected the sum of round 0 before it"):
        site.answer(dataclasses.replace(early, round=2))
    with pytest.raises(InputError, match="what all sites encrypted: found bytes that are no ciphertext"):
        site.answer(early)
    total = federation.cipher.add([first] * 3)
    once = site.answer(dataclasses.replace(early, encrypted=total)).update.encrypted
    shapes = {"shape/0": (LENGTH,)}
    rounds = [at_site.decrypt(one, shapes)["shape/0"] for one in (first, once)]
    assert np.abs(rounds[0] - rounds[1]).max() > 1e-3


def test_no_gradient_leaves_a_site_that_encrypts_unless_it_is_encrypted(federation):
    outbox, words = federation.sites["a"].outbox, {"kind": GRADIENTS, "stage": STAGE, "round": 0, "count": 2}
    for name, array in (("gradients/shape/0", FIRST["shape/0"]), ("encrypted/00000", np.zeros(1000, np.uint8))):
        with pytest.raises(InputError, match=f"an array '{name}' that is not encrypted; .* it stays here"):
            outbox.check(Message(words, {name: array}, {}))


def test_a_round_needs_every_site(federation):
    del federation.sites["b"]
    federation.away = {"b": "b is away"}
    with pytest.raises(QuorumLost, match="from 2 of 3 sites, 3 are needed"):
        federation.learn()


def test_a_site_that_sends_no_ciphertext_is_named(federation):
    honest = federation.exchange

    def exchange(task):
        answers = honest(task)
        if task.kind != GRADIENTS:
            return answers
        first, *others = answers.received
        bad = dataclasses.replace(first.update, encrypted={"00000": np.zeros(9, np.uint8)})
        return answers._replace(received=[first._replace(update=bad), *others])

    federation.exchange = exchange
    with pytest.raises(QuorumLost, match="what a encrypted: found bytes that are no ciphertext"):
        federation.learn()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("quorum", 2, "quorum is 2; it must be 0 or 3 where sites encrypt"),
        ("robust", "median", "robust is median; it must be auto or none where sites encrypt"),
    ],
)
def test_settings_that_need_readable_gradients_are_refused(field, value, words):
    with pytest.raises(InputError, match=words):
        toy_config(federated={"sites": NAMES, "encrypt": True, field: value})
