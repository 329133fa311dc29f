"""The same training steps on two installations of TensorFlow: first losses, how far they part, CPU seconds a step.

python -m benchmarks.two_tensorflows .venv/bin/python .venv-new/bin/python [--preset=demo] [--rounds=3] [--steps=5]

The installations take turns, each in a process of its own. Seeds, random volumes and first weights are the same. Other
work on the machine changes CPU seconds less than seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
Step = Callable[[int], Mapping[str, Any]]  # number to losses
Measured = dict[str, dict[str, list[float]]]  # stage: the sum of each step's losses, and its CPU seconds


def open_steps(preset: str) -> dict[str, Step]:
    """Return a step of each stage, as a function of its number that returns its losses."""
    from benchmarks.steps import random_site, with_rng
    from fedsim_tf.config import make_config
    from fedsim_tf.models import built
    from fedsim_tf.runs.inputs import open_shape_model
    from fedsim_tf.training.enhancement import EnhancementPretraining
    from fedsim_tf.training.learner import SiteLearner
    from fedsim_tf.training.pretraining import GeneratorPretraining
    from fedsim_tf.training.protocols import Stage
    from fedsim_tf.training.segmentation import UNetTraining
    from fedsim_tf.training.semi_supervised import SemiSupervised
    from fedsim_tf.training.simulation import SingleSiteStage

    config = make_config(preset, model={"vgg_weights": "random", "precision": "float32"})
    site = random_site(config)
    vgg = built.vgg_features(config.model)
    # Each stage starts from first weights: what the stages before it have learnt would part sooner or later.
    first, second, third = (SiteLearner(config, open_shape_model(config), site, vgg) for _ in range(3))
    unet = UNetTraining(config, site.validation)
    unet.begin(site.labelled, rate=1e-3, steps=10, stage="benchmark")
    stages: dict[str, Stage] = {
        "generator pre-training": SingleSiteStage(GeneratorPretraining(first), rate=1e-3, steps=10),
        "GAN pre-training": EnhancementPretraining(second),
        "semi-supervised": SingleSiteStage(SemiSupervised(third), rate=1e-3, steps=10),
        "3D U-Net": unet,
    }
    return {name: with_rng(stage, stage.step) for name, stage in stages.items()}


def measure(preset: str, steps: int) -> Measured:
    """Do the steps of each stage with the TensorFlow of this process; the first two trace."""
    found: Measured = {}
    for name, step in open_steps(preset).items():
        found[name] = {"losses": [], "seconds": []}
        for index in range(steps + 1):
            start = time.process_time()
            total = float(sum(float(value) for value in step(index).values()))
            found[name]["losses"].append(total)
            found[name]["seconds"].append(time.process_time() - start)
    return found


def ask(python: str, preset: str, steps: int) -> Measured:
    """Measure in a process of another installation."""
    command = [python, "-m", "benchmarks.two_tensorflows", "--child", f"--preset={preset}", f"--steps={steps}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(pythons: list[str], preset: str, *, steps: int, rounds: int) -> None:
    """Print the table of two installations."""
    asked = [[ask(python, preset, steps) for python in pythons] for _ in range(rounds)]
    print(f"| {preset} | first loss | | apart | after {steps} steps | | apart | CPU s a step | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in asked[0][0]:
        cells = [name]
        for at in (0, -1):
            old, new = (one[name]["losses"][at] for one in asked[0])
            cells += [f"{old:.6f}", f"{new:.6f}", f"{abs(new - old) / abs(old):.0e}"]
        for which in range(2):
            times = [seconds for one in asked for seconds in one[which][name]["seconds"][2:]]
            cells.append(f"{statistics.median(times):.3f}")
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pythons", nargs="*")
    parser.add_argument("--child", action="store_true", help="measure with this Python and print it as JSON")
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.preset, arguments.steps)))
        sys.exit()
    compare(arguments.pythons, arguments.preset, steps=arguments.steps, rounds=arguments.rounds)
