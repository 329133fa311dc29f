"""What a stage needs beside its step and its objects, for stages that are made up in tests."""

from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Look


class ToyStage:
    """A stage called "toy" with nothing to show."""

    name = "toy"
    seeds = StepSeeds(0, "toy")

    def __init__(self):
        self.gradient_norms = {}

    def look(self):
        return Look()
