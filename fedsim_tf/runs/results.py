"""Write a run's results: scores.json of each fold, metrics.json, the table, the pictures and the report."""

from __future__ import annotations

import datetime
import pathlib
import platform
import subprocess
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

import fedsim_tf
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.splits import split_sizes
from fedsim_tf.evaluation.figures import draw_loss_curves
from fedsim_tf.evaluation.report import print_table
from fedsim_tf.files import list_whole_files, read_json, write_json
from fedsim_tf.models.precision import device, resolve_precision
from fedsim_tf.records.fold_scores import SCORES, FoldScores, ScoresBySite, has_scores, read_fold_scores
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics, StageRecords
from fedsim_tf.records.versioned import write_record
from fedsim_tf.runs.report_pages import write_pages
from fedsim_tf.training.run import METRICS, RunFolder

_CODE = "code.json"


def gather_facts(
    run: RunFolder,
    cohorts: Mapping[str, Cohort],
    *,
    experiment: str,
    data: str,
    labelled: int | Mapping[str, int],
    vgg: str,
) -> RunFacts:
    """Return what ran, on what and with which software.

    Args:
      run: the run's folder.
      cohorts: by site.
      experiment, data, labelled, vgg: see `RunFacts`.
    """
    return RunFacts(
        data=data,
        split={name: split_sizes(cohort.name, cohort.n_patients) for name, cohort in cohorts.items()},
        folds=run.config.data.folds,
        preset=run.config.preset,
        seed=run.config.seed,
        volumes=f"{run.config.model.size}^3 voxels",
        precision=resolve_precision(run.config.model.precision),
        experiment=experiment,
        labelled=labelled,
        label_kind=run.config.model.labels,
        fedsim_tf=fedsim_tf.__version__,
        commit=" ".join(_read_commits(run)) or current_commit(),
        tensorflow=tf.__version__,
        machine=f"{platform.machine()}, {device()}",
        finished=datetime.datetime.now().isoformat(timespec="seconds"),
        vgg=vgg,
    )


def current_commit() -> str:
    """Return the commit of the code that runs, with a plus where files differ from it; "unknown" outside a checkout."""
    folder = pathlib.Path(fedsim_tf.__file__).parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*", "--abbrev=10"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _read_commits(run: RunFolder) -> list[str]:
    """Return the commits of the code that has worked on a run's folds, or on one of them."""
    return list(dict.fromkeys(one for file in list_whole_files(run.path, _CODE) for one in read_json(file)))


def finish(
    run: RunFolder, folds: Sequence[ScoresBySite], *, title: str, facts: RunFacts, stages: StageRecords
) -> RunMetrics:
    """Write metrics.json and the pages, and print the table.

    Args:
      run: the run's folder.
      folds: each fold's scores.
      title: of table and report.
      facts: what ran.
      stages: the records of finished stages, by fold and stage.

    Returns:
      The contents of metrics.json.
    """
    metrics = RunMetrics(facts=facts, folds=tuple(folds), stages=stages)
    write_record(run.path / METRICS, metrics)
    report = write_pages(run, metrics, title=title)
    print_table(title, metrics.summary)
    print(f"Report: {report}")
    return metrics


def read_or_make_scores(fold: RunFolder, make: Callable[[], ScoresBySite], *, site: str) -> ScoresBySite:
    """Return a fold's scores, which are read where an earlier start of the run has finished the fold, and else made.

    The commits of the code that made them are kept beside; there are several where the code changed in between.

    Args:
      fold: the folder of the fold, or of a site in it.
      make: makes the scores.
      site: the site's name, see `read_fold_scores`.
    """
    if not has_scores(fold.path):
        write_json(fold.path / _CODE, list(dict.fromkeys((*_read_commits(fold), current_commit()))))
        write_record(fold.path / SCORES, FoldScores(make()))
    return read_fold_scores(fold.path, site=site).sites


def draw_losses(run: RunFolder, *, data: str) -> None:
    """Draw the loss curves of every stage of a run's folder."""
    root = run.path / "losses"
    tables = {str(file.relative_to(root).with_suffix("")): file for file in list_whole_files(root, "*.csv")}
    draw_loss_curves(run.pictures / "losses.png", tables, title=f"Losses, {data}")
