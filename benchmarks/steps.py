"""Seconds a step and megabytes a checkpoint of every stage, for the estimates that commands print before they start.

python -m benchmarks.steps demo small paper [--precision=float32] [--steps=5]

Random volumes stand in for CTs. Times depend on sizes and widths, not on what the volumes show. They are medians over
some steps; TF_NUM_INTRAOP_THREADS and TF_NUM_INTEROP_THREADS say how many threads share an operation, and how many
operations are done at a time.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.config import PRECISIONS, PRESETS, Config, make_config
from fedsim_tf.models import built
from fedsim_tf.plus.deformed import deform_annotated
from fedsim_tf.plus.volume_enhancement import VolumeEnhancement
from fedsim_tf.plus.wider_shapes import WiderShapes, measure_changes
from fedsim_tf.runs.inputs import open_shape_model
from fedsim_tf.synthesis import sample_volumes
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import SharedStage, Stage, Trackable
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.volumes import SiteVolumes, UnlabelledVolumes, Volumes


def random_site(config: Config, n: int = 4) -> SiteVolumes:
    """Return a site with n annotated and n unannotated volumes of noise."""
    rng, shape = np.random.default_rng(0), (n, *[config.model.size] * 3)
    images = rng.uniform(-1, 1, shape).astype(np.float32)
    names = tuple(str(i) for i in range(n))
    labelled = Volumes(names, images, (images > 0.9).astype(np.float32))
    one = Volumes(names[:1], images[:1], labelled.labels[:1])
    extent_mm = (240.0, 240.0, 200.0)
    unlabelled = UnlabelledVolumes(names, images)
    return SiteVolumes("noise", extent_mm, labelled, unlabelled, labelled, one, one, np.array([extent_mm]))


def with_rng(stage: Stage | SharedStage, step: Callable[..., object]) -> Callable[[int], object]:
    """Return a stage's step as a function of its number alone, with the generator that belongs to it."""
    return lambda index: step(index, stage.seeds.rng(index))


def megabytes(**objects: Trackable) -> float:
    """Return the size of a checkpoint of the objects."""
    with tempfile.TemporaryDirectory() as folder:
        tf.train.Checkpoint(**objects).write(f"{folder}/state")
        return sum(file.stat().st_size for file in pathlib.Path(folder).iterdir()) / 1e6


class Opened(NamedTuple):
    """A stage that is ready for its first step.

    Attributes:
      name: its name in estimates.
      step: takes the number of a step.
      kinds: how many kinds of steps take turns in it.
      objects: what a checkpoint of it holds.
    """

    name: str
    step: Callable[[int], object]
    kinds: int = 1
    objects: Mapping[str, Trackable] = MappingProxyType({})


def median_seconds(stage: Opened, *, kind: int, steps: int) -> float:
    """Return the median time of a stage's steps of one kind after the first one, which traces."""
    numbers = iter(range(kind, (steps + 1) * stage.kinds, stage.kinds))
    stage.step(next(numbers))
    taken = []
    for number in numbers:
        start = time.perf_counter()
        stage.step(number)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def open_stages(config: Config, *, steps: int = 1000) -> Iterator[Opened]:
    """Yield every stage of a run on random volumes, one after the other, at its first step.

    Args:
      config: the run's.
      steps: the length of the last stage, which is more than anybody takes.
    """
    site = random_site(config)
    learner = SiteLearner(config, open_shape_model(config), site, built.vgg_features(config.model))
    shared = {"shared_optimizer": adam(1e-3, learner.shared_variables)}
    pretraining = GeneratorPretraining(learner)
    moved = {**pretraining.objects, **shared}
    yield Opened("pretraining", with_rng(pretraining, pretraining.shared_gradients), objects=moved)
    gan = EnhancementPretraining(learner)
    yield Opened("gan", with_rng(gan, gan.step), objects=gan.objects)
    semi = SemiSupervised(learner)
    yield Opened("semi", with_rng(semi, semi.shared_gradients), kinds=2, objects={**semi.objects, **shared})
    drawn = sample_volumes(learner.model, learner.latent_statistics(with_unlabelled=True).distribution(), steps, seed=0)
    yield Opened("sample", lambda _: next(drawn))
    fitted = learner.model.shape_generator(learner.labelled_latents.table).numpy()
    shapes = WiderShapes(measure_changes(fitted, spread=config.plus.spread))
    plus = VolumeEnhancement(learner, deform_annotated(learner, shapes, copies=0))
    yield Opened("plus", with_rng(plus, plus.step), objects=plus.objects)
    unet = UNetTraining(config, site.validation)
    unet.begin(site.labelled, rate=1e-3, steps=steps, stage="benchmark")
    yield Opened("unet", with_rng(unet, unet.step), objects=unet.objects)


def measure(preset: str, precision: str, *, steps: int) -> None:
    """Print the time of a step and the size of a checkpoint for every stage of a preset."""
    config = make_config(preset, model={"vgg_weights": "random", "precision": precision})
    for stage in open_stages(config):
        each = [median_seconds(stage, kind=kind, steps=steps) for kind in range(stage.kinds)]
        size = f"{megabytes(**stage.objects):8.1f} MB" if stage.objects else ""
        print(f"{preset:8}{stage.name:24}{sum(each) / len(each):9.3f} s{size}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", choices=PRESETS)
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of each kind")
    arguments = parser.parse_args()
    for chosen in arguments.presets:
        measure(chosen, arguments.precision, steps=arguments.steps)
