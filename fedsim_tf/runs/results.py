"""What a run leaves for its reader: metrics.json, the table, the pictures and the report."""

from __future__ import annotations

import datetime
import json
import pathlib
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

import fedsim_tf
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.evaluation.figures import loss_curves
from fedsim_tf.evaluation.report import print_table, write_report
from fedsim_tf.evaluation.scores import Scores, over_folds
from fedsim_tf.files import read_json, whole_files, write_json, write_text
from fedsim_tf.models.precision import device, resolve_precision
from fedsim_tf.training.run import METRICS, SCORES, SITES, RunFolder

_CODE = "code.json"
FoldScores = Mapping[str, Mapping[str, Scores]]  # site to arm to scores


def facts(run: RunFolder, cohorts: Mapping[str, Cohort], *, data: str, **more: Any) -> dict[str, Any]:
    """What ran, on what and with which software: part of metrics.json and of the report."""
    return {
        "data": data,
        "split": {name: cohort.sizes._asdict() for name, cohort in cohorts.items()},
        "folds": run.config.data.folds,
        "preset": run.config.preset,
        "seed": run.config.seed,
        "volumes": f"{run.config.model.size}^3 voxels",
        "precision": resolve_precision(run.config.model.precision),
        **more,
        "fedsim_tf": fedsim_tf.__version__,
        "commit": " ".join(_commits(run)) or commit(),
        "tensorflow": tf.__version__,
        "machine": f"{platform.machine()}, {device()}",
        "finished": datetime.datetime.now().isoformat(timespec="seconds"),
    }


def commit() -> str:
    """The commit of the code that runs, with a plus where files differ from it; "unknown" outside a checkout."""
    folder = pathlib.Path(fedsim_tf.__file__).parent
    asked = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=10"]
    try:
        return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _commits(run: RunFolder) -> list[str]:
    """Of the code that has worked on a run's folds, or on one of them."""
    return list(dict.fromkeys(one for file in whole_files(run.path, _CODE) for one in read_json(file)))


def finish(
    run: RunFolder, folds: Sequence[FoldScores], *, title: str, about: Mapping[str, Any], stages: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes metrics.json and report.html, prints the table, returns the metrics."""
    sites = {site: over_folds([fold[site] for fold in folds]) for site in folds[0]}
    metrics = {"facts": dict(about), "summary": sites, "folds": [dict(fold) for fold in folds], "stages": dict(stages)}
    write_json(run.path / METRICS, metrics)
    files = [file.relative_to(run.path) for file in whole_files(run.path, "*.png")]
    pictures = [(str(file), _caption(file)) for file in files]
    write_report(run.path / "report.html", title=title, facts=about, summary=sites, stages=stages, pictures=pictures)
    print_table(title, sites)
    print(f"Report: {run.path / 'report.html'}")
    return metrics


def scores_of(fold: RunFolder, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A fold's scores: made, or read back where an earlier start of the run finished the fold.

    The commits of the code that made them, several where the code changed in between, are kept beside.
    """
    file = fold.path / SCORES
    if not file.exists():
        write_json(fold.path / _CODE, list(dict.fromkeys((*_commits(fold), commit()))))
        write_text(file, json.dumps(make(), indent=2) + "\n")  # arms stay in their order
    return read_json(file)


def draw_losses(run: RunFolder, *, data: str) -> None:
    """The loss curves of every stage of a run's folder."""
    root = run.path / "losses"
    tables = {str(file.relative_to(root).with_suffix("")): file for file in whole_files(root, "*.csv")}
    loss_curves(run.pictures / "losses.png", tables, title=f"Losses, {data}")


def _caption(picture: pathlib.Path) -> str:
    """Of what it shows and, in a federated run, at which site."""
    words = picture.stem.replace("_", " ").capitalize()
    _, _, within = str(picture).partition(f"/{SITES}/")
    return f"{words}, {within.partition('/')[0]}" if within else words
