"""Compares training steps with PyTorch's and with the machine's peak, and shows where their time goes.

python -m benchmarks.learning unet 64 | unet 128 | gan | pretraining | semi

`unet` and `gan` need `pip install torch` for the peer, whose networks are those of the tests. Their sides take turns,
each in a process of its own, so that each has its own peak memory. Networks have the published widths; the batch is 1;
weights and data are random.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks import learning_sides

PEERS = ("float32", "float32 channels_last", "bfloat16", "bfloat16 channels_last")
SIZE = 128
# With these glibc keeps large blocks; else it gives them back to the system, and the next step faults them in anew.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=("unet", "gan", "pretraining", "semi"))
    parser.add_argument("size", nargs="?", type=int, default=SIZE, help="voxels or pixels along each edge")
    parser.add_argument("--precision", default="", help="model.precision of ours; by default the configuration's")
    parser.add_argument("--peers", nargs="*", default=PEERS, choices=PEERS)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side, or calls of each part")
    parser.add_argument("--steps", type=int, default=3, help="timed steps in each process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--keep_memory", action="store_true", help="let malloc keep what is freed; page faults slow PyTorch most"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)  # a process of one side
    arguments = parser.parse_args()
    if arguments.side:
        learning_sides.run(
            arguments.side,
            arguments.work,
            arguments.size,
            count=arguments.steps,
            precision=arguments.precision,
            threads=arguments.threads,
        )
    elif arguments.work in ("unet", "gan"):
        compare(arguments)
    else:
        divide(arguments)


def compare(arguments: argparse.Namespace) -> None:
    """Print a table of all sides."""
    from benchmarks import arithmetic

    found: dict[str, list[dict[str, Any]]] = {side: [] for side in ("ours", *arguments.peers, "rates")}
    for _ in range(arguments.rounds):
        for side, results in found.items():
            results.append(_run_side(side, KEEP_MEMORY if arguments.keep_memory else {}))
            print(f"{side}: {results[-1]}", file=sys.stderr, flush=True)
    size, is_unet = arguments.size, arguments.work == "unet"
    count = arithmetic.unet_step(size) if is_unet else arithmetic.gan_step(size, 64, 64)
    speeds = found.pop("rates")
    peak = {precision: max(rate[precision] for rate in speeds) for precision in speeds[0]}
    work = f"{size}^{3 if is_unet else 2}"
    print(
        f"\n{arguments.work}, {work}, batch 1, {arguments.threads} threads: {count / 1e9:.0f} G multiply-adds a step."
    )
    print(f"One large {3 if is_unet else 2}-D convolution (PyTorch, forward, the fastest of all calls): ", end="")
    print(", ".join(f"{rate / 1e9:.0f} G multiply-adds/s in {precision}" for precision, rate in peak.items()) + ".\n")
    print("| side | s a step | least, most | times ours | peak memory, GiB | share of the float32, bfloat16 rate |")
    print("|---|---|---|---|---|---|")
    ours = _seconds(found["ours"])
    for side, results in found.items():
        seconds = _seconds(results)
        share = ", ".join(f"{count / np.median(seconds) / rate:.0%}" for rate in peak.values())
        memory = max(result["peak_gib"] for result in results)
        name = f"ours{', ' * bool(arguments.precision)}{arguments.precision}" if side == "ours" else f"PyTorch {side}"
        print(
            f"| {name} | {np.median(seconds):.3f} | {min(seconds):.3f}, {max(seconds):.3f} "
            f"| {np.median(seconds) / np.median(ours):.2f} | {memory:.1f} | {share} |"
        )


def divide(arguments: argparse.Namespace) -> None:
    """Print a table of a step's parts."""
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # TensorFlow takes the parts for one function that is traced over and over
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    from benchmarks.learning_parts import CALLS, make_learner, measure_ms

    calls = CALLS[arguments.work](make_learner(arguments.size, arguments.precision))
    times = measure_ms(calls, rounds=max(arguments.rounds, 5))
    whole = times.pop("whole")
    print(f"\n{arguments.work}, {arguments.size}^3, {arguments.threads} threads, each part forward and backward\n")
    print("| part | ms | of the whole |")
    print("|---|---|---|")
    for name, ms in times.items():
        print(f"| {name} | {ms:.1f} | {ms / whole:.0%} |")
    print(f"| sum of the parts | {sum(times.values()):.1f} | {sum(times.values()) / whole:.0%} |")
    print(f"| whole step | {whole:.1f} | |")


def _run_side(side: str, environment: dict[str, str]) -> dict[str, Any]:
    """Run one side in a process of its own and return what it measured."""
    command = [sys.executable, "-m", "benchmarks.learning", *sys.argv[1:], "--side", side]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


def _seconds(results: list[dict[str, Any]]) -> list[float]:
    return [second for result in results for second in result["seconds"]]


if __name__ == "__main__":
    main()
