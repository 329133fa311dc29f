"""Where the time of a step goes in every stage: the first call with its tracing, and a later step by kind of operation.

python -m benchmarks.where_time_goes demo small [--precision=float32] [--steps=8] [--only=gan,unet] [--longest=12]

TensorFlow's profiler notes each operation. On one thread (TF_NUM_INTRAOP_THREADS=1, TF_NUM_INTEROP_THREADS=1) their sum
is the step but for what is spent between operations; on several, operations that overlap are counted in full. Random
volumes stand in for CTs.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import collections
import pathlib
import re
import tempfile
import time
from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # TensorFlow 2.15 has no public reader of its own profiles

from benchmarks.steps import Opened, open_stages
from fedsim_tf.config import PRECISIONS, PRESETS, make_config

# The first that fits the kind or the place of an operation, in this order.
KINDS = {
    "optimizer": r"Adam|Assign",
    "normalisation": r"BatchNorm|/norm|spectral|Spectral(?!Conv2D/Conv)",
    "convolution": r"Conv[23]D",
    "scan and shapes": r"Voxel|Occupan|ConeBeam|Cone|Project",
    "matrix products": r"MatMul|Einsum|matmul",
    "casts": r"Cast$",
    "moving data": r"(Concat|Split|Slice|Pad|Transpose|Tile|Gather|Pack|Reshape|SpaceND|Mirror)\w*$",
}
OTHERS, BETWEEN = "other arithmetic", "between operations"


class StepProfile(NamedTuple):
    """The time of a stage's steps.

    Attributes:
      first: seconds of the first step of each kind together, tracing included.
      step: seconds of a later step.
      kinds: seconds of a step by kind of operation.
      single: seconds of a step by operation.
    """

    first: float
    step: float
    kinds: Mapping[str, float]
    single: Mapping[str, float]


def profile(stage: Opened, *, steps: int) -> StepProfile:
    """Return where the time of a stage's steps goes, as a mean over some of them."""
    start = time.perf_counter()
    for number in range(stage.kinds):
        stage.step(number)
    first = time.perf_counter() - start
    for number in range(stage.kinds):
        stage.step(number)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            start = time.perf_counter()
            for number in range(steps):
                stage.step(number)
            taken = (time.perf_counter() - start) / steps
        single = {name: value / steps for name, value in read_operations(pathlib.Path(folder)).items()}
    kinds: dict[str, float] = collections.defaultdict(float)
    for name, value in single.items():
        kinds[find_kind(name)] += value
    kinds[BETWEEN] = max(0.0, taken - sum(kinds.values()))
    return StepProfile(first, taken, kinds, single)


def read_operations(folder: pathlib.Path) -> dict[str, float]:
    """Return the seconds of each operation, by place and kind as "place:kind", in a profile of TensorFlow's."""
    found: dict[str, float] = collections.defaultdict(float)
    for file in folder.rglob("*.xplane.pb"):
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
        for plane in space.planes:
            names = {key: one.name for key, one in plane.event_metadata.items()}
            for event in (event for line in plane.lines for event in line.events):
                place, separator, kind = names[event.metadata_id].rpartition(":")
                # Calls of functions and pipelines hold the operations within them.
                if separator and ": " not in names[event.metadata_id] and "::" not in names[event.metadata_id]:
                    found[f"{place}:{kind}"] += event.duration_ps / 1e12
    return found


def find_kind(name: str) -> str:
    """Return the kind of an operation, a key of `KINDS` or `OTHERS`."""
    return next((kind for kind, pattern in KINDS.items() if re.search(pattern, name)), OTHERS)


def main(arguments: argparse.Namespace) -> None:
    """Print a table for each preset, with a column for each kind of operation."""
    columns = [*KINDS, OTHERS, BETWEEN]
    for preset in arguments.presets:
        config = make_config(preset, model={"vgg_weights": "random", "precision": arguments.precision})
        print(f"\n| {preset} | first call, s | step, ms | {' | '.join(columns)} |")
        print("|" + "---|" * (3 + len(columns)), flush=True)
        for stage in open_stages(config):
            if arguments.only and stage.name not in arguments.only.split(","):
                continue
            found = profile(stage, steps=arguments.steps - arguments.steps % stage.kinds)
            shares = [f"{100 * found.kinds.get(name, 0.0) / found.step:.0f} %" for name in columns]
            print(f"| {stage.name} | {found.first:.1f} | {1000 * found.step:.1f} | {' | '.join(shares)} |", flush=True)
            for name in sorted(found.single, key=found.single.__getitem__, reverse=True)[: arguments.longest]:
                print(f"    {1000 * found.single[name]:8.2f} ms  {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="+", choices=PRESETS)
    parser.add_argument("--precision", default="auto", choices=PRECISIONS)
    parser.add_argument("--steps", type=int, default=8, help="steps that are noted")
    parser.add_argument("--only", default="", help="stages, such as gan,unet")
    parser.add_argument("--longest", type=int, default=0, help="list so many operations of each stage")
    main(parser.parse_args())
