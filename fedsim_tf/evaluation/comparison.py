"""Scores of many runs side by side, from their metrics.json alone, and paired tests between arms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.arms import ARMS
from fedsim_tf.errors import InputError
from fedsim_tf.records.run_metrics import SINGLE_SITE_RUN, RunMetrics
from fedsim_tf.regions import HEART, LABEL_KINDS


class Cell(NamedTuple):
    """The place of a score in the tables.

    Attributes:
      experiment: "single_site" or "federated".
      arm: see `fedsim_tf.arms`.
      site: the data set.
      labels: annotated training volumes.
      label_kind: of `regions.LABEL_KINDS`, what the networks tell apart.
    """

    experiment: str
    arm: str
    site: str
    labels: int
    label_kind: str = HEART


class PairedTest(NamedTuple):
    """The result of a paired two-sided t-test over folds or patients.

    Attributes:
      pairs: the number of folds or patients that both have.
      difference: mean of the first less the second.
      p: NaN with fewer than two pairs.
      effect: Cohen's d of paired samples, the mean difference in its own standard deviations; NaN where p is.
    """

    pairs: int
    difference: float
    p: float
    effect: float


def collect_scores(
    metrics: Iterable[RunMetrics], *, measure: str = "dice", region: str | None = None
) -> dict[Cell, list[float]]:
    """Return one measure of every arm of every run, fold by fold.

    Args:
      metrics: the runs' results.
      measure: of `metrics.MEASURES`.
      region: the short name of a region; None: the heart as a whole. Folds without scores of the region, and arms
        without such folds, are left out.

    Returns:
      Scores by cell; experiments, sites, labels and arms are in the order of the tables.

    Raises:
      InputError: two runs disagree about a cell.
    """
    cells: dict[Cell, list[float]] = {}
    for one in metrics:
        for cell in _cells(one):
            arms = [fold[cell.site][cell.arm] for fold in one.folds]
            found = arms if region is None else [arm.find_region(region) for arm in arms]
            values = [getattr(scores, measure) for scores in found if scores is not None]
            if not values:
                continue
            if cells.setdefault(cell, values) != values:
                data = name_by_kind(f"{cell.site} with {cell.labels} labels", cell.label_kind)
                where = f"{cell.experiment}, {data}"
                raise InputError("metrics", found=f"two runs with other scores of {cell.arm}, {where}", expected="one")
    return dict(sorted(cells.items(), key=lambda item: _sorting_key(item[0])))


def _cells(metrics: RunMetrics) -> list[Cell]:
    """Return the cell of each site and arm of a run."""
    facts = metrics.facts
    return [
        Cell(facts.experiment, arm, site, facts.labels_at(site), facts.label_kind)
        for site, arms in metrics.folds[0].items()
        for arm in arms
    ]


def name_by_kind(words: str, label_kind: str) -> str:
    """Return words about scores of whole hearts as they are, and those about networks of regions with "by region"."""
    return words if label_kind == HEART else f"{words} by region"


def list_label_kinds(cells: Iterable[Cell]) -> list[str]:
    """Return the kinds of labels of which there are cells, in their order; the heart alone where there is no cell."""
    found = {cell.label_kind for cell in cells}
    return [kind for kind in LABEL_KINDS if kind in found] or [HEART]


def find_scores(cells: Mapping[Cell, Sequence[float]], cell: Cell) -> Sequence[float]:
    """Return a cell's scores; none where no run has filled it.

    The upper bound uses every label: its scores may come from a run with another number of labels.
    """
    if cell in cells or cell.arm != "upper_bound":
        return cells.get(cell, ())
    others = (values for other, values in cells.items() if other._replace(labels=cell.labels) == cell)
    return next(others, ())


def paired_test(first: Sequence[float], second: Sequence[float]) -> PairedTest:
    """Compare two arms' scores of the same folds or patients; those that only the longer list has are left out."""
    from scipy.stats import ttest_1samp  # here, as it takes half a second and every run imports this module

    pairs = min(len(first), len(second))
    differences = np.subtract(first[:pairs], second[:pairs])
    mean = float(np.mean(differences)) if pairs else float("nan")
    spread = float(np.std(differences, ddof=1)) if pairs > 1 else float("nan")
    if pairs > 1 and spread == 0.0:
        effect = 0.0 if mean == 0.0 else float("inf") * np.sign(mean)
        return PairedTest(pairs, mean, 1.0 if mean == 0.0 else 0.0, effect)
    p = float(ttest_1samp(differences, 0.0).pvalue) if pairs > 1 else float("nan")
    return PairedTest(pairs, mean, p, mean / spread)


def _sorting_key(cell: Cell) -> tuple:
    arms = list(ARMS)
    row = arms.index(cell.arm) if cell.arm in arms else len(arms)
    return (cell.experiment != SINGLE_SITE_RUN, cell.site, cell.labels, LABEL_KINDS.index(cell.label_kind), row)
