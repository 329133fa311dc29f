"""A site's work of a moment: squares that are to be small, with a state of the site's own."""

import time

import numpy as np
import tensorflow as tf

from fedsim_tf.models.latents import LatentStatistics
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Look

STAGE = "squares"
LENGTH = 6


class Squares:
    """|w - own|^2 of one site; `own` moves a little each round, as latents do, and never leaves."""

    name = STAGE
    seeds = StepSeeds(0, STAGE)
    gradient_norms: dict = {}  # noqa: RUF012
    count = 3
    shared_names = ("shape/0",)

    def __init__(self, site, pause=0.0, length=LENGTH):
        self._pause = pause
        start = float(sum(site.encode()) % 11)
        self.own = tf.Variable(np.linspace(0, start, length).astype(np.float32))
        self.shared_variables = [tf.Variable(np.zeros(length, np.float32))]
        self.learner = self

    @property
    def objects(self):
        return {"own": self.own}

    def look(self):
        return Look()

    def shared_gradients(self, _step, rng):
        time.sleep(self._pause)
        difference = self.shared_variables[0] - self.own
        self.own.assign_add(0.01 * rng.standard_normal(self.own.shape).astype(np.float32))
        return {"square": tf.reduce_sum(difference**2)}, [2 * difference]


class ToyWork:
    def __init__(self, site, pause=0.0, length=LENGTH):
        self.squares = Squares(site, pause, length)
        self.shared_shapes = {"shape/0": (length,)}
        self.done = []

    def begin(self, stage, distribution):
        return self.squares

    def work_alone(self, name, distribution):
        self.done.append(name)

    def count_volumes(self):
        return 4

    def measure_latents(self, *, with_unlabelled, largest_norm=0.0):
        return LatentStatistics.of(np.eye(4, 64), largest_norm=largest_norm)
