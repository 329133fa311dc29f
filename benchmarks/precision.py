"""Both precisions: how fast they are here, and whether they learn alike.

python -m benchmarks.precision --times [--size=64]
python -m benchmarks.precision --seeds 0 1 2 [--runs=DIR] [-- flags of experiments.single_site]

The first prints what `--model_precision=auto` measures and answers on this machine, beside the time of a whole step of
each large network. The second runs the demo, or whatever the flags after `--` make of it, once for each precision and
seed, and prints the last losses of every stage and the Dice. Runs that are there already are not repeated.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import pathlib
import subprocess
import sys
import time

import numpy as np

from fedsim_tf.records.run_metrics import read_metrics

PRECISIONS = ("float32", "bfloat16")
REPEATS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", action="store_true", help="measure times instead of learning")
    parser.add_argument("--size", type=int, default=64, choices=(32, 64, 128), help="of the networks that are timed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/precision"))
    parser.add_argument("flags", nargs="*", help="of experiments.single_site, after --")
    arguments = parser.parse_args()
    if arguments.times:
        print_times(arguments.size)
    else:
        print_losses(arguments.runs, arguments.seeds, arguments.flags)


def print_times(size: int) -> None:
    """Print the seconds of single convolutions and of whole steps in both precisions, and what `auto` answers."""
    from fedsim_tf.models import precision

    start = time.perf_counter()
    convolutions = precision.measure_convolutions()
    print(f"auto: {precision.choose_precision(convolutions)}, found in {time.perf_counter() - start:.1f} s\n")
    rows = {f"convolution, {kind}": seconds for kind, seconds in convolutions.items()} | step_seconds(size)
    print("| ms | " + " | ".join(PRECISIONS) + " | ratio |\n|---|---|---|---|")
    for name, seconds in rows.items():
        cells = [f"{1e3 * seconds[each]:.1f}" for each in PRECISIONS]
        print(f"| {name} | {' | '.join(cells)} | {seconds['bfloat16'] / seconds['float32']:.2f} |", flush=True)


def step_seconds(size: int) -> dict[str, dict[str, float]]:
    """Return the least seconds of a step, gradients of all weights included, by network and precision."""
    from fedsim_tf.config import make_config
    from fedsim_tf.models import built

    preset = {32: "demo", 64: "small", 128: "paper"}[size]
    kinds = {
        "U-Net": (built.unet, (1, size, size, size, 1)),
        "enhancement network": (built.enhancement_generator, (4, size, size, 3)),
        "discriminator": (built.discriminator, (8, size, size, 4)),
    }
    configs = {each: make_config(preset, model={"precision": each}).model for each in PRECISIONS}
    return {
        f"step of the {name}, {size} voxels": {
            each: gradient_seconds(make(config, seed=0), shape) for each, config in configs.items()
        }
        for name, (make, shape) in kinds.items()
    }


def gradient_seconds(network, shape: tuple[int, ...]) -> float:
    """Return the least seconds that the gradients of a network's weights take, without the first, traced, call."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def sum_gradients(images: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.cast(maps, tf.float32)) for maps in tf.nest.flatten(network(images))])
        return tf.add_n([tf.reduce_sum(each) for each in tape.gradient(loss, network.trainable_variables)])

    images, taken = tf.random.stateless_uniform(shape, (0, 1)), []
    for _ in range(1 + REPEATS):
        start = time.perf_counter()
        sum_gradients(images).numpy()
        taken.append(time.perf_counter() - start)
    return min(taken[1:])


def print_losses(runs: pathlib.Path, seeds: list[int], flags: list[str]) -> None:
    """Print the mean and the standard deviation over seeds of every loss and of Dice, in both precisions."""
    found = {each: [run_once(runs / f"{each}-{seed}", each, seed, flags) for seed in seeds] for each in PRECISIONS}
    print(f"\nMean ± standard deviation over seeds {', '.join(map(str, seeds))}\n")
    print("| what | " + " | ".join(PRECISIONS) + " |")
    print("|---" * (1 + len(PRECISIONS)) + "|")
    for name in found[PRECISIONS[0]][0]:
        cells = [[run[name] for run in found[each]] for each in PRECISIONS]
        print(f"| {name} | " + " | ".join(f"{np.mean(cell):.4g} ± {np.std(cell, ddof=1):.2g}" for cell in cells) + " |")


def run_once(folder: pathlib.Path, precision: str, seed: int, flags: list[str]) -> dict[str, float]:
    """Return the numbers of one run, which is made if it is not there."""
    if not (folder / "metrics.json").exists():
        command = [sys.executable, "-m", "experiments.single_site", f"--model_precision={precision}", f"--seed={seed}"]
        subprocess.run([*command, f"--run_dir={folder}", *flags], check=True, stdout=sys.stderr)
    metrics = read_metrics(folder / "metrics.json")
    losses = {
        f"{stage.removeprefix('fold_0/')}: {loss}": values["last"]
        for stage, record in metrics.stages.items()
        if stage.startswith("fold_0/")
        for loss, values in record["losses"].items()
    }
    (arms,) = metrics.summary.values()
    return losses | {f"test Dice %, {arm}": row.mean.dice for arm, row in arms.items()}


if __name__ == "__main__":
    main()
