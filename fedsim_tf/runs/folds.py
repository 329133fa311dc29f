"""A run's folds one after the other, or one of them alone, as a cluster's jobs do them."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.runs.results import read_or_make_scores
from fedsim_tf.training.run import RunFolder, is_federated


class Folds(NamedTuple):
    """What the folds of a run have come to.

    Attributes:
      scores: of each fold.
      stages: the record of each finished stage, by fold and stage.
    """

    scores: list[ScoresBySite]
    stages: dict[str, Mapping[str, Any]]


def run_folds(run: RunFolder, make: Callable[[RunFolder, int], ScoresBySite], *, only: int | None = None) -> Folds:
    """Makes each fold's scores, or reads them back where an earlier start finished the fold.

    Args:
      run: the run's folder; each fold has one within.
      make: all of a fold's work, given its folder and number.
      only: the number of the only fold to run; None: all.

    Raises:
      InputError: no such fold.
    """
    scores, folds = [], {}
    for number in fold_numbers(run.config, only):
        folds[number] = run.fold(number)
        make_scores = functools.partial(make, folds[number], number)
        scores.append(read_or_make_scores(folds[number], make_scores, site=run.config.dataset))
    return Folds(scores, stages_of(folds))


def refuse_other_experiment(run_dir: str | os.PathLike, *, federated: bool) -> None:
    """Refuses to go on with a single-site run as a federated one or the other way round.

    Their configurations may be the same; what tells them apart is where a fold has noted its data.

    Raises:
      InputError: the folder's run is of the other kind.
    """
    folds = pathlib.Path(run_dir)
    if federated and any(folds.glob(f"fold_*/{DATA}")):
        raise InputError(run_dir, found="a single-site run", expected="a federated one, or another --run_dir")
    if not federated and any(map(is_federated, folds.glob("fold_*"))):
        raise InputError(run_dir, found="a federated run", expected="a single-site one, or another --run_dir")


def fold_numbers(config: Config, only: int | None) -> Sequence[int]:
    """The folds of a run, or the only one of them that was asked for.

    Raises:
      InputError: no such fold.
    """
    count = config.data.folds
    if only is not None and not 0 <= only < count:
        raise InputError("--only_fold", found=only, expected=f"0 to {count - 1}")
    return range(count) if only is None else [only]


def stages_of(folds: Mapping[int, RunFolder]) -> dict[str, Mapping[str, Any]]:
    """The record of each finished stage of numbered folds, by fold and stage."""
    return {
        f"fold_{number}/{name}": record for number, fold in folds.items() for name, record in fold.records().items()
    }
