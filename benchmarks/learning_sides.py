"""Runs one side of `benchmarks.learning`, in a process of its own so that its peak memory is its own."""

from __future__ import annotations

import contextlib
import json
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Step = Callable[[], object]
UNET_RATE = 1e-3


def make_our_step(work: str, size: int, *, precision: str, threads: int) -> Step:
    """Return a call of this project's step: the traced one of the stage."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    from benchmarks.steps import random_site
    from fedsim_tf.config import make_config

    model: dict[str, Any] = {"size": size, "vgg_weights": "random"} | ({"precision": precision} if precision else {})
    config = make_config("paper", model=model, gan={"batch": 1})
    site = random_site(config, 1)
    if work == "unet":
        from fedsim_tf.training.segmentation import UNetTraining

        training = UNetTraining(config, site.validation)
        training.begin(site.labelled, rate=UNET_RATE, steps=10000, stage="benchmark")
        batch = [tf.constant(part[:1, ..., None]) for part in (site.labelled.images, site.labelled.labels)]
        return lambda: float(training._traced(*batch)[0])
    from fedsim_tf.models import built
    from fedsim_tf.runs.inputs import open_shape_model
    from fedsim_tf.training.enhancement import EnhancementPretraining
    from fedsim_tf.training.learner import SiteLearner

    stage = EnhancementPretraining(
        SiteLearner(config, open_shape_model(config), site, built.vgg_features(config.model))
    )
    return lambda: float(stage.step(0, stage.seeds.rng(0))["vgg"])


def make_peer_step(work: str, size: int, *, precision: str, channels_last: bool, threads: int) -> Step:
    """Return a call of PyTorch's step, with its usual layout or channels last; bfloat16 is by its autocast."""
    import torch

    torch.set_num_threads(threads)
    from tests.oracles.torch_gan import VGG19, Discriminator, Generator
    from tests.oracles.torch_training import GanStep, UNetStep
    from tests.oracles.torch_unet import UNet3D

    context: Callable = contextlib.nullcontext
    if precision == "bfloat16":
        context = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    if work == "unet":
        layout = torch.channels_last_3d if channels_last else torch.contiguous_format
        images = torch.rand(1, 1, size, size, size) * 2 - 1
        network = UNet3D().to(memory_format=layout)
        batch = [images.contiguous(memory_format=layout), (images > 0.9).float().contiguous(memory_format=layout)]
        unet_step = UNetStep(network, rate=UNET_RATE, context=context)
        return lambda: unet_step(*batch)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    networks = [network.to(memory_format=layout) for network in (Generator(size), Discriminator(), VGG19())]
    gan_step = GanStep(*networks, context=context)
    semantics, real = (
        torch.rand(1, channels, size, size).contiguous(memory_format=layout) * 2 - 1 for channels in (3, 1)
    )
    return lambda: gan_step(semantics, real)


def time_steps(step: Step, *, count: int) -> dict[str, Any]:
    """Time `count` steps after the first two, which trace, make the optimizers' slots and claim memory."""
    seconds = []
    for number in range(count + 2):
        start = time.perf_counter()
        value = step()
        if number > 1:
            seconds.append(time.perf_counter() - start)
    if not np.all(np.isfinite(list(value.values()) if isinstance(value, dict) else value)):
        raise FloatingPointError(f"the loss is {value}")
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "peak_gib": peak_gib}


def measure_rates(dimensions: int, *, threads: int) -> dict[str, float]:
    """Return the multiply-adds a second of one large convolution, by precision."""
    import torch

    torch.set_num_threads(threads)
    from benchmarks.arithmetic import DTYPES, convolution_rate

    return {precision: convolution_rate(dimensions, precision) for precision in DTYPES}


def run(side: str, work: str, size: int, *, count: int, precision: str, threads: int) -> None:
    """Print what this side gives as one line of JSON.

    Args:
      side: "ours", "rates", or PyTorch's precision and, where it is not the usual one, layout, such as "bfloat16
        channels_last".
      work: the stage: "unet" or "gan".
      size: voxels or pixels along each edge.
      count: timed steps.
      precision: of this project's side; empty for its default.
      threads: for each operation.
    """
    if side == "rates":
        found: dict[str, Any] = measure_rates(3 if work == "unet" else 2, threads=threads)
    elif side == "ours":
        found = time_steps(make_our_step(work, size, precision=precision, threads=threads), count=count)
    else:
        name, *layout = side.split()
        found = time_steps(
            make_peer_step(work, size, precision=name, channels_last=bool(layout), threads=threads), count=count
        )
    print(json.dumps(found), flush=True)
