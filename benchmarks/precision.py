"""Whether bfloat16 and float32 learn alike: last losses of every stage, and Dice, over the same seeds.

python -m benchmarks.precision --seeds 0 1 2 [--runs=DIR] [-- flags of experiments.single_site]

Runs the demo once for each precision and seed, or whatever the flags after `--` make of it; runs that are there already
are not repeated. Processors without avx512_bf16 compute bfloat16 as well, only slowly.
"""

import argparse
import pathlib
import subprocess
import sys

import numpy as np

from fedsim_tf.records.run_metrics import read_metrics

PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs/precision"))
    parser.add_argument("flags", nargs="*", help="of experiments.single_site, after --")
    arguments = parser.parse_args()
    found = {
        precision: [
            _run(arguments.runs / f"{precision}-{seed}", precision, seed, arguments.flags) for seed in arguments.seeds
        ]
        for precision in PRECISIONS
    }
    print(f"\nMean ± standard deviation over seeds {', '.join(map(str, arguments.seeds))}\n")
    print("| what | " + " | ".join(PRECISIONS) + " |")
    print("|---" * (1 + len(PRECISIONS)) + "|")
    for name in found[PRECISIONS[0]][0]:
        cells = [[run[name] for run in found[precision]] for precision in PRECISIONS]
        print(f"| {name} | " + " | ".join(f"{np.mean(cell):.4g} ± {np.std(cell, ddof=1):.2g}" for cell in cells) + " |")


def _run(folder: pathlib.Path, precision: str, seed: int, flags: list[str]) -> dict[str, float]:
    """The numbers of one run, which is made if need be."""
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
