"""Arms against each other over folds, with a paired t-test: at each data set, and at all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.config import LABEL_SIZES, PAPER_LABELS
from fedsim_tf.evaluation.comparison import Cell, find_scores, paired_test
from fedsim_tf.evaluation.tables import MISSING, Table, experiment_and_data
from fedsim_tf.records.run_metrics import SINGLE_SITE_RUN

Pairs = Iterable[tuple[str, str]]  # an arm, and the one that it is compared with

AGAINST_LOWER_BOUND = tuple((arm, "lower_bound") for arm in arms.ARMS if arm != "lower_bound")
AMONG_TABLE_3 = (
    ("ours_pre", "ours_fix_mat"),
    ("ours_full", "ours_fix_mat"),
    ("ours_full", "ours_pre"),
    (arms.FEDERATED_SIMULATION, arms.DIRECT),
)
AMONG_TABLE_2 = (
    ("random_shape", "random_place"),
    *((arm, "random_shape") for arm in ("alpha_blend", "poisson_blend")),
    *(("fix_mat_alone", arm) for arm in ("random_place", "random_shape", "alpha_blend", "poisson_blend")),
)
_HEADINGS = ("arm", "less", "Dice", "p, paired t", "Cohen's d", "folds")
Cells = Mapping[Cell, Sequence[float]]


def compare_at_each_site(cells: Cells, pairs: Pairs) -> Table:
    """Return each arm less its partner on the same data.

    The partner is of the same experiment, or else the single site's. The latter is the paper's comparison, in which a
    federated run's U-Nets take three volumes a step and the single site's one.
    """
    rows = [
        [*experiment_and_data(cell), *_words(cell.arm, reference, values, others)]
        for cell, reference, values, others in _partners(cells, pairs)
    ]
    return Table(("", "data", *_HEADINGS), rows)


def compare_over_all_sites(cells: Cells, pairs: Pairs) -> Table:
    """Return each arm less its partner over the folds of all data sets.

    The paper's smaller and larger numbers of labels have rows of their own. Arms that ran on one data set alone are
    left out: `compare_at_each_site` has their rows.
    """
    found: dict[tuple[str, str, str, str], list[tuple[Sequence[float], Sequence[float]]]] = {}
    for cell, reference, values, others in _partners(cells, pairs):
        if cell.labels in PAPER_LABELS.get(cell.site, ()):
            size = LABEL_SIZES[PAPER_LABELS[cell.site].index(cell.labels)]
            found.setdefault((cell.experiment, size, cell.arm, reference), []).append((values, others))
    rows = []
    for (experiment, size, arm, reference), sites in found.items():
        if len(sites) > 1:
            first, second = (np.concatenate(scores) for scores in zip(*sites, strict=True))
            data = f"{size} labels, {len(sites)} data sets"
            rows.append([experiment.replace("_", " "), data, *_words(arm, reference, first, second)])
    return Table(("", "data", *_HEADINGS), rows)


def _partners(cells: Cells, pairs: Pairs) -> Iterator[tuple[Cell, str, Sequence[float], Sequence[float]]]:
    """Give each cell of a pair's first arm that has a partner, the partner's arm, and the scores of their folds."""
    pairs = tuple(pairs)
    for cell in dict.fromkeys(other._replace(arm=arm) for other in cells for arm, _ in pairs):
        for reference in (second for first, second in pairs if first == cell.arm):
            other = cell._replace(arm=reference)
            values = find_scores(cells, cell)
            others = find_scores(cells, other) or find_scores(cells, other._replace(experiment=SINGLE_SITE_RUN))
            folds = min(len(values), len(others))
            if folds:
                yield cell, reference, values[:folds], others[:folds]


def _words(arm: str, reference: str, first: Sequence[float], second: Sequence[float]) -> list[str]:
    test = paired_test(first, second)
    effect = format(test.effect, "+.2f") if np.isfinite(test.effect) else MISSING
    names = [arms.title(arm), arms.title(reference)]
    return [*names, f"{test.difference:+.2f}", _format_p(test.p), effect, str(test.folds)]


def _format_p(value: float) -> str:
    """Return a p-value such as "0.017" or "< 0.001"; a dash for a test of one fold."""
    if not np.isfinite(value):
        return MISSING
    return format(value, ".3f") if value >= 0.001 else "< 0.001"
