"""Scores of many runs side by side, from their metrics.json alone, and paired tests between arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from fedsim_tf.arms import ARMS
from fedsim_tf.errors import InputError


class Cell(NamedTuple):
    """Where a score belongs.

    Attributes:
      experiment: "single_site" or "federated".
      arm: see `fedsim_tf.arms`.
      site: the data set.
      labels: annotated training volumes.
    """

    experiment: str
    arm: str
    site: str
    labels: int


class Paired(NamedTuple):
    """A paired two-sided t-test over folds.

    Attributes:
      folds: how many; difference: mean of first less second.
      p: NaN with fewer than two folds.
      effect: Cohen's d of paired samples, the mean difference in its own standard deviations; NaN as p.
    """

    folds: int
    difference: float
    p: float
    effect: float


def collect(metrics: Iterable[Mapping[str, Any]], *, score: str = "dice") -> dict[Cell, list[float]]:
    """Every arm's score of every fold, fold by fold; by experiment, site and labels, arms in the order of the tables.

    Args:
      metrics: contents of runs' metrics.json.
      score: which one, see `metrics.Agreement`.

    Raises:
      InputError: a record without what is needed, or two that disagree about a cell.
    """
    cells: dict[Cell, list[float]] = {}
    for number, one in enumerate(metrics):
        for cell, value in _cells(one, number, score):
            if cells.setdefault(cell, value) != value:
                raise InputError("metrics", found=f"two runs with different scores of {cell}", expected="one of each")
    return dict(sorted(cells.items(), key=lambda item: _place(item[0])))


def of_cell(cells: Mapping[Cell, Sequence[float]], cell: Cell) -> Sequence[float]:
    """A cell's scores; the upper bound's, which uses every label, may have run beside another number of labels."""
    if cell in cells or cell.arm != "upper_bound":
        return cells.get(cell, ())
    others = (values for other, values in cells.items() if other._replace(labels=cell.labels) == cell)
    return next(others, ())


def paired_test(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compares two arms' scores of the same folds; those of the longer list that have no partner are left out."""
    folds = min(len(first), len(second))
    differences = np.subtract(first[:folds], second[:folds])
    mean = float(np.mean(differences)) if folds else float("nan")
    spread = float(np.std(differences, ddof=1)) if folds > 1 else float("nan")
    if folds > 1 and spread == 0.0:
        return Paired(folds, mean, 1.0 if mean == 0.0 else 0.0, 0.0 if mean == 0.0 else float("inf") * np.sign(mean))
    p = float(stats.ttest_1samp(differences, 0.0).pvalue) if folds > 1 else float("nan")
    return Paired(folds, mean, p, mean / spread)


def _place(cell: Cell) -> tuple:
    arms = list(ARMS)
    row = arms.index(cell.arm) if cell.arm in arms else len(arms)
    return (cell.experiment != "single_site", cell.site, cell.labels, row)


def _cells(metrics: Mapping[str, Any], number: int, score: str) -> list[tuple[Cell, list[float]]]:
    try:
        facts, folds = metrics["facts"], metrics["folds"]
        experiment, labelled = facts["experiment"], facts["labelled"]
        found = []
        for site, arms in folds[0].items():
            labels = labelled[site] if isinstance(labelled, Mapping) else labelled
            for arm in arms:
                values = [float(fold[site][arm][score]) for fold in folds]
                found.append((Cell(experiment, arm, site, labels), values))
        return found
    except (KeyError, IndexError) as error:
        raise InputError(f"metrics number {number}", found=f"no {error}", expected="a finished run's record") from error
