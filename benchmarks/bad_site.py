"""Measures what one bad site does to pre-training with each rule by which a server can bear it.

Toy hospitals learn in this process; one of them changes what it sends. Prints distances from the model that all sites
learn undisturbed, in units of that model's own way from its first weights, and the honest sites' last losses.

python -m benchmarks.bad_site
python -m benchmarks.bad_site --sites=5 --rounds=60
"""

import dataclasses
import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from absl import app, flags, logging

from fedsim_tf.config import ROBUST_RULES
from fedsim_tf.errors import InputError
from fedsim_tf.federated.aggregation import AUTO, NONE, TRIMMED
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.message import SUM, SUM_OUTER, answer_to_message, message_to_answer
from fedsim_tf.federated.refusals import summarize_refused
from fedsim_tf.federated.server import pool_moments
from fedsim_tf.federated.task import Answer, Answers
from fedsim_tf.federated.update import SiteUpdate, measure_norm
from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.training.learner import initial_shared_weights
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from tests.runs.toy_networks import use_small_gan
from tests.training.toy_site import toy_config, toy_learner

flags.DEFINE_integer("sites", 3, "Sites, of which the last one is bad.", lower_bound=3)
flags.DEFINE_integer("rounds", 40, "Rounds of pre-training.", lower_bound=12)
flags.DEFINE_list("rules", None, "Rules; default: all that differ for so many sites.")
flags.DEFINE_list("attacks", None, "Rows of the table of gradients; default: all.")
flags.DEFINE_bool("moments", True, "Print the table of moments too.")
FLAGS = flags.FLAGS
LAST = 10  # rounds over which losses are averaged


def signs(factor):
    """The same random signs in every round, in the place of gradients, at so many times their norm."""

    def change(arrays):
        rng, norm = np.random.default_rng(0), measure_norm(arrays)
        length = np.sqrt(sum(one.size for one in arrays.values()))
        return {
            name: (factor * norm / length * rng.choice([-1.0, 1.0], size=one.shape)).astype(np.float32)
            for name, one in arrays.items()
        }

    return change


def times(factor):
    return lambda arrays: {name: (factor * one).astype(np.float32) for name, one in arrays.items()}


GRADIENT_ATTACKS = {
    "none": None,
    "constant signs, usual norm": signs(1.0),
    "constant signs, 90 times": signs(90.0),
    "flipped, usual norm": times(-1.0),
    "flipped, 90 times": times(-90.0),
    "NaN": times(np.nan),
    "sends nothing": lambda arrays: {},
}
MOMENT_ATTACKS = {
    "moments of 1e300": lambda count, arrays: (count, {name: np.full_like(one, 1e300) for name, one in arrays.items()}),
    "moments of latents of size 30": lambda count, arrays: (
        count,
        {SUM: np.full(64, 30.0 * count), SUM_OUTER: np.full((64, 64), 900.0 * count)},
    ),
    "a count of 100,000": lambda count, arrays: (
        100_000,
        {SUM: np.full(64, 3e5), SUM_OUTER: 1e5 * (np.full((64, 64), 9.0) + np.eye(64))},
    ),
}


class Toys:
    """An exchange with toy sites, of which the last one's answers are changed on their way."""

    def __init__(self, names, config):
        self.names, self.bad, self.change, self.change_moments = names, names[-1], None, None
        learners = {name: toy_learner(config, name=name, seed=7 * number) for number, name in enumerate(names)}
        self.stages = {name: GeneratorPretraining(learner) for name, learner in learners.items()}
        objects = {name: tf.train.Checkpoint(**stage.objects) for name, stage in self.stages.items()}
        self._state, self._folder = tf.train.Checkpoint(**objects), tempfile.TemporaryDirectory()
        self._first = self._state.write(f"{self._folder.name}/first")

    def reset(self):
        self._state.read(self._first).assert_consumed()

    def __call__(self, task):
        received, missing = [], {}
        for name, stage in self.stages.items():
            message = answer_to_message(task, self._answer(task, name, stage))
            if name == self.bad and task.kind == "gradients" and self.change:
                arrays = {key.removeprefix("gradients/"): value for key, value in message.arrays.items()}
                message = message._replace(
                    arrays={f"gradients/{key}": value for key, value in self.change(arrays).items()}
                )
            if name == self.bad and task.kind == "latents" and self.change_moments:
                count, arrays = self.change_moments(message.words["count"], message.arrays)
                message = message._replace(words={**message.words, "count": count}, arrays=arrays)
            try:
                received.append(message_to_answer(name, message))
            except InputError as error:  # as a deployed server takes it
                missing[name] = str(error)
        return Answers(received, missing)

    def _answer(self, task, name, stage):
        learner = stage.learner
        if task.kind == "latents":
            found = learner.latent_statistics(with_unlabelled=False)
            return Answer(SiteUpdate(name, task.stage, task.round, found.count, latents=found), {})
        if task.kind != "gradients":
            count = len(learner.data.labelled) + len(learner.data.unlabelled)
            return Answer(SiteUpdate(name, task.stage, task.round, count if task.kind == "begin" else 0), {})
        for key, variable in zip(learner.shared_names, learner.shared_variables, strict=True):
            variable.assign(task.weights[key])
        losses, gradients = stage.shared_gradients(task.round, stage.seeds.rng(task.round))
        named = {key: one.numpy() for key, one in zip(learner.shared_names, gradients, strict=True)}
        update = SiteUpdate(name, task.stage, task.round, learner.count, named)
        return Answer(update, {key: float(value) for key, value in losses.items()})


def main(_):
    logging.set_verbosity(logging.ERROR)
    use_small_gan(pytest.MonkeyPatch())
    names = [chr(ord("a") + number) for number in range(FLAGS.sites)]
    left_out = {AUTO, TRIMMED} if FLAGS.sites == 3 else {AUTO}  # trimmed is the median then
    rules = FLAGS.rules or [rule for rule in ROBUST_RULES if rule not in left_out]
    config = toy_config(pretraining={"steps": FLAGS.rounds}, federated={"sites": tuple(names), "quorum": 2})
    toys, start = Toys(names, config), initial_shared_weights(config)
    wanted, *_ = learn(toys, config, start, rule=NONE)
    way = distance(wanted, start)
    print(f"{FLAGS.sites} sites, {FLAGS.rounds} rounds; distance from the undisturbed model, honest sites' loss")
    print(f"| what the bad site sends | {' | '.join(rules)} |\n|---|{'---|' * len(rules)}")
    for name, change in GRADIENT_ATTACKS.items():
        if FLAGS.attacks is not None and name not in FLAGS.attacks:
            continue
        toys.change, cells = change, []
        for rule in rules:
            weights, losses, _, _ = learn(toys, config, start, rule=rule)
            cells.append(f"{distance(weights, wanted) / way:.2f}, {losses:.3f}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if FLAGS.moments:
        print_moments(toys, config, start)


def print_moments(toys, config, start):
    names, toys.change = toys.names, None
    learn(toys, config, start, rule=NONE)
    honest = pool_moments([measure(toys, name) for name in names[:-1]]).covariance
    print("\nerror of the pooled covariance, in units of the honest sites' own")
    print("| moments | refused | error | error if nobody looked |\n|---|---|---|---|")
    for name, change in MOMENT_ATTACKS.items():
        toys.change_moments = change
        _, _, normal, refused = learn(toys, config, start, rule=NONE)
        error = np.linalg.norm(normal.covariance - honest) / np.linalg.norm(honest)
        spoilt = spoil(measure(toys, toys.bad), change)
        try:
            everything = pool_moments([*(measure(toys, name) for name in names[:-1]), spoilt]).covariance
            unchecked = f"{np.linalg.norm(everything - honest) / np.linalg.norm(honest):.2g}"
        except ValueError:  # no numbers
            unchecked = "the run ends"
        print(f"| {name} | {'; '.join(refused) or 'nobody'} | {error:.2g} | {unchecked} |", flush=True)


def measure(toys, name):
    return toys.stages[name].learner.latent_statistics(with_unlabelled=False)


def spoil(moments, change):
    count, arrays = change(moments.count, {SUM: moments.sum, SUM_OUTER: moments.sum_outer})
    return LatentStatistics(count, arrays[SUM], arrays[SUM_OUTER])


def learn(toys, config, start, *, rule):
    """Return the weights after all rounds, the honest sites' last losses, the pooled normal, and who was refused."""
    toys.reset()
    config = dataclasses.replace(config, federated=dataclasses.replace(config.federated, robust=rule))
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(pathlib.Path(folder) / "run", config)
        coordinator = Coordinator(run, toys, toys.names)
        settings = config.pretraining
        weights = coordinator.run_rounds(
            GeneratorPretraining.name, start, rate=settings.rate, steps=settings.steps, accumulate="sum"
        )
        normal = coordinator.pool_latents(with_unlabelled=False)
        rows = np.loadtxt(run.losses(GeneratorPretraining.name), delimiter=",", skiprows=1, dtype=str)
        refused = summarize_refused(run.path)
    honest = [float(value) for step, name, value in rows if name[0] != toys.bad and int(step) >= FLAGS.rounds - LAST]
    return weights, sum(honest) / LAST / (len(toys.names) - 1), normal, refused


def distance(weights, others):
    """Return the Euclidean distance between two sets of weights."""
    return float(np.sqrt(sum(np.sum((weights[name].astype(np.float64) - others[name]) ** 2) for name in weights)))


if __name__ == "__main__":
    app.run(main)
