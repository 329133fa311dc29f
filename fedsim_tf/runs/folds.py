"""The folds of a run, one after the other, or one of them alone as a cluster's jobs do them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.runs.results import read_or_make_scores
from fedsim_tf.training.run import RunFolder


class Folds(NamedTuple):
    """The results of a run's folds.

    Attributes:
      scores: the scores of each fold.
      stages: the record of each finished stage, by fold and stage.
    """

    scores: list[ScoresBySite]
    stages: dict[str, Mapping[str, Any]]


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
