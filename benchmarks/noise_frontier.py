"""What noise on gradients costs learning, and what an attacker at the server still gets: one site's pre-training.

python -m benchmarks.noise_frontier --out=... --cache_dir=... [--multipliers 0 0.001 0.01] [--batch=2] [--keep=1000]

Each multiplier is a run of `experiments.federated` of the phantom cohort ct34lc alone at demo size with a clipping norm
of 1, of which the stages after pre-training take two steps, and an audit of all rounds. A finished run in the folder is
not run again. It prints a table (docs/federated.md) and draws frontier.png.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure
from scipy import stats

from fedsim_tf.federated.privacy_account import ROUND_SHARE, compute_cost, compute_epsilon
from fedsim_tf.tools.audit import run_audit
from fedsim_tf.tools.audit_start import open_audit
from fedsim_tf.tools.audit_table import FoundPatient
from fedsim_tf.training.stage import read_losses

SITE, ROUNDS, LAST = "ct34lc", 130, 20
SENSITIVITY = 2.0  # of an answer, in units of its bound
FLAGS = (
    *("--preset=demo", "--method=ours_sim_fl", f"--federated_sites={SITE}"),
    *("--model_precision=float32", "--federated_clip_norm=1"),
    *("--gan_steps=2", "--semi_steps=2", "--synthesis_volumes=2", "--segmentation_pretraining_steps=2"),
    *("--segmentation_finetuning_steps=2", "--segmentation_validation_every=2"),
)


class Point(NamedTuple):
    """What one multiplier gives.

    Attributes:
      multiplier: of the noise.
      shape_loss, material_loss: L_IoU and the squared error of the coarse CT, means of the last rounds.
      attack, of_mean: mean correlation of the attack's CTs of single rounds, and of the mean of the other patients,
        with the patients'.
      named, attacked: how many of these are most like the right patient, of how many.
      best_pool: the largest mean correlation of any pool of rounds, with that of the mean of the others; None: no pool.
    """

    multiplier: float
    shape_loss: float
    material_loss: float
    attack: float
    of_mean: float
    named: int
    attacked: int
    best_pool: tuple[float, float] | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cache_dir", type=pathlib.Path, required=True)
    parser.add_argument("--multipliers", type=float, nargs="+", default=[0.0, 0.001, 0.003, 0.01, 0.02, 0.03])
    parser.add_argument("--batch", type=int, default=2, help="annotated volumes a round")
    parser.add_argument("--keep", type=int, default=1000, help="last rounds of a stage that are attacked")
    options = parser.parse_args()
    print(
        "| `noise_multiplier` | L_IoU | squared error | CTs of single rounds, correlation (mean of the others) "
        f"| right patient | best pool | epsilon | bound on naming one of 20 |\n{'|---' * 8}|"
    )
    points = []
    for multiplier in options.multipliers:
        flags = (f"--pretraining_batch={options.batch}", f"--federated_keep_sent={options.keep}")
        points.append(measure(options.out / f"{multiplier:g}", multiplier, options.cache_dir, flags))
        print(format_row(points[-1]), flush=True)
    draw(points, options.out / "frontier.png")


def measure(folder: pathlib.Path, multiplier: float, cache_dir: pathlib.Path, flags: Sequence[str]) -> Point:
    noise = f"--federated_noise_multiplier={multiplier:g}"
    command = (sys.executable, "-m", "experiments.federated", *FLAGS, *flags, noise)
    done = subprocess.run(
        [*command, f"--run_dir={folder}", f"--cache_dir={cache_dir}"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    patients = run_audit(open_audit(folder, SITE, stages=["pretraining"], cache_dir=cache_dir))
    losses = read_last_losses(folder / "fold_0" / "sites" / SITE / "losses" / "pretraining.csv")
    single = [one for one in patients if not one.is_pooled]
    return Point(
        multiplier,
        losses["iou"],
        losses["material_mse"],
        *mean_correlations(single),
        sum(one.finding.rank == 1 for one in single),
        len(single),
        find_best_pool(patients),
    )


def read_last_losses(file: pathlib.Path) -> dict[str, float]:
    """Return each loss as a mean over the last rounds."""
    rows = [(loss, value) for step, loss, value in read_losses(file) if step >= ROUNDS - LAST]
    return {name: statistics.mean(value for loss, value in rows if loss == name) for name in dict(rows)}


def mean_correlations(patients: Sequence[FoundPatient]) -> tuple[float, float]:
    """Return the attack's mean correlation and that of the mean of the others; NaN of no patients."""
    if not patients:
        return math.nan, math.nan
    pairs = [(one.finding.correlation, one.finding.correlation_of_mean) for one in patients]
    attack, of_mean = (statistics.mean(column) for column in zip(*pairs, strict=True))
    return attack, of_mean


def find_best_pool(patients: Sequence[FoundPatient]) -> tuple[float, float] | None:
    pools = {(one.first, one.last) for one in patients if one.is_pooled}
    found = [mean_correlations([one for one in patients if (one.first, one.last) == pool]) for pool in pools]
    return max(found, default=None)


def bound_naming(multiplier: float, *, rounds: int, patients: int) -> float:
    """Return how often any attack on all rounds of pre-training can name a patient at most, of so many equally likely.

    That is the reconstruction robustness of the Gaussian mechanism (Hayes, Mahloujifar and Balle, NeurIPS 2023):
    against each guess the rounds together are one normal whose mean moves by so many deviations.
    """
    if not multiplier:
        return 1.0
    moved = SENSITIVITY * math.sqrt(rounds * ROUND_SHARE) / multiplier
    return float(stats.norm.cdf(stats.norm.ppf(1 / patients) + moved))


def format_row(point: Point) -> str:
    epsilon = compute_epsilon(compute_cost(point.multiplier, ROUNDS * ROUND_SHARE))
    words = [f"{point.multiplier:g}", f"{point.shape_loss:.3f}", f"{point.material_loss:.3f}"]
    words += [f"{point.attack:.2f} ({point.of_mean:.2f})", f"{point.named} of {point.attacked}"]
    words.append("" if point.best_pool is None else "{:.2f} ({:.2f})".format(*point.best_pool))
    words += [f"{epsilon:.2g}", f"{bound_naming(point.multiplier, rounds=ROUNDS, patients=20):.2f}"]
    return "| " + " | ".join(words) + " |"


def draw(points: Sequence[Point], file: pathlib.Path) -> None:
    figure = Figure(figsize=(8, 3.5), layout="constrained")
    attack, learning = figure.subplots(1, 2)
    places = range(len(points))
    attack.plot(places, [one.attack for one in points], "o-", label="attack on single rounds")
    pools = [math.nan if one.best_pool is None else one.best_pool[0] for one in points]
    attack.plot(places, pools, "s--", label="attack on the best pool of rounds")
    attack.plot(places, [one.of_mean for one in points], "k:", label="mean of the other patients")
    attack.set(ylabel="correlation with the patient's CT", ylim=(0, 1))
    learning.plot(places, [one.material_loss for one in points], "o-", label="squared error of the coarse CT")
    learning.plot(places, [one.shape_loss for one in points], "s--", label="L_IoU")
    learning.set(ylabel="loss of the last rounds", ylim=(0, None))
    for axes in (attack, learning):
        axes.set(xlabel="noise_multiplier", xticks=places, xticklabels=[f"{one.multiplier:g}" for one in points])
        axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


if __name__ == "__main__":
    main()
