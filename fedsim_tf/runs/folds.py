"""The folds of a run, one after the other, or one of them alone as a cluster's jobs do them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.records.run_metrics import FEDERATED_RUN, SINGLE_SITE_RUN, RunMetrics
from fedsim_tf.runs.report_pages import write_pages_of_fold
from fedsim_tf.runs.results import finish, gather_facts, read_or_make_scores
from fedsim_tf.runs.start import RunStart
from fedsim_tf.training.run import RunFolder


class Folds(NamedTuple):
    """The results of a run's folds.

    Attributes:
      scores: the scores of each fold.
      stages: the record of each finished stage, by fold and stage.
    """

    scores: list[ScoresBySite]
    stages: dict[str, Mapping[str, Any]]


def run_to_results(
    start: RunStart, run: RunFolder, make: Callable[[RunFolder, int], ScoresBySite]
) -> RunMetrics | None:
    """Run the folds that were asked for and, where these are all, write the run's results.

    Args:
      start: what the run starts from.
      run: the run's folder.
      make: does all of a fold's work, given its folder and number.

    Returns:
      The contents of metrics.json, or None where only some folds were asked for: a call for all finishes the run.
    """
    folds = run_folds(run, start.folds, make)
    facts = gather_facts(
        run,
        start.cohorts,
        experiment=FEDERATED_RUN if start.federated else SINGLE_SITE_RUN,
        data=start.source,
        labelled=start.labels if start.federated else start.labels[start.sites[0]],
        vgg=start.vgg.source,
    )
    title = f"{'Federated' if start.federated else 'Single site'}: {start.source}"
    if len(start.folds) < run.config.data.folds:
        for number, scores in zip(start.folds, folds.scores, strict=True):
            for page in write_pages_of_fold(run, number, scores, facts):
                print(f"Report of fold {number}: {page}")
        return None
    return finish(run, folds.scores, title=title, facts=facts, stages=folds.stages)


def run_folds(run: RunFolder, numbers: Sequence[int], make: Callable[[RunFolder, int], ScoresBySite]) -> Folds:
    """Make the scores of each fold, or read them back where an earlier start finished the fold.

    Args:
      run: the run's folder, in which each fold has one of its own.
      numbers: the folds to run.
      make: does all of a fold's work, given its folder and number.
    """
    scores, folds = [], {}
    for number in numbers:
        folds[number] = run.fold(number)
        make_scores = functools.partial(make, folds[number], number)
        scores.append(read_or_make_scores(folds[number], make_scores, site=run.config.dataset))
    return Folds(scores, stages_of(folds))


def stages_of(folds: Mapping[int, RunFolder]) -> dict[str, Mapping[str, Any]]:
    """Return the record of each finished stage of numbered folds, by fold and stage."""
    return {
        f"fold_{number}/{name}": record for number, fold in folds.items() for name, record in fold.records().items()
    }
