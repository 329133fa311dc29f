"""Arms against each other over folds, with a paired t-test: at each data set, and at all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.config import LABEL_SIZES, PAPER_LABELS
from fedsim_tf.evaluation.comparison import Cell, of_cell, paired_test
from fedsim_tf.evaluation.tables import MISSING, Table, cell_name

Pairs = Iterable[tuple[str, str]]  # an arm, and the one that it is held against

LOWER_BOUND = tuple((arm, "lower_bound") for arm in arms.ARMS if arm != "lower_bound")
TABLE_3 = (
    ("ours_pre", "ours_fix_mat"),
    ("ours_full", "ours_fix_mat"),
    ("ours_full", "ours_pre"),
    (arms.FEDERATED_SIMULATION, arms.DIRECT),
)
TABLE_2 = (
    *((arm, "random_shape") for arm in ("alpha_blend", "poisson_blend")),
    *(("fix_mat_alone", arm) for arm in ("random_shape", "alpha_blend", "poisson_blend")),
)
_HEADINGS = ("arm", "less", "Dice", "p, paired t", "Cohen's d", "folds")
Cells = Mapping[Cell, Sequence[float]]


def differences(cells: Cells, pairs: Pairs) -> Table:
    """Each arm less another one on the same data.

    The other arm is that of the same experiment, or where this has none the single site's: the paper's comparison, in
    which a federated run's U-Nets take three volumes a step and the single site's one.
    """
    rows = [
        [*cell_name(cell), *_words(cell.arm, reference, values, others)]
        for cell, reference, values, others in _compared(cells, pairs)
    ]
    return Table(("", "data", *_HEADINGS), rows)


def differences_of_all(cells: Cells, pairs: Pairs) -> Table:
    """The same over the folds of all data sets, apart for the paper's smaller and larger numbers of labels.

    Rows of one data set alone, which are those of `differences`, are left out.
    """
    found: dict[tuple[str, str, str, str], list[tuple[Sequence[float], Sequence[float]]]] = {}
    for cell, reference, values, others in _compared(cells, pairs):
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


def _compared(cells: Cells, pairs: Pairs) -> Iterator[tuple[Cell, str, Sequence[float], Sequence[float]]]:
    """Each cell of a pair's first arm that has a partner, the partner's arm, and scores of the folds that both have."""
    pairs = tuple(pairs)
    for cell in dict.fromkeys(other._replace(arm=arm) for other in cells for arm, _ in pairs):
        for reference in (second for first, second in pairs if first == cell.arm):
            other = cell._replace(arm=reference)
            values = of_cell(cells, cell)
            others = of_cell(cells, other) or of_cell(cells, other._replace(experiment="single_site"))
            folds = min(len(values), len(others))
            if folds:
                yield cell, reference, values[:folds], others[:folds]


def _words(arm: str, reference: str, first: Sequence[float], second: Sequence[float]) -> list[str]:
    test = paired_test(first, second)
    effect = format(test.effect, "+.2f") if np.isfinite(test.effect) else MISSING
    return [arms.title(arm), arms.title(reference), f"{test.difference:+.2f}", _p(test.p), effect, str(test.folds)]


def _p(value: float) -> str:
    """ "0.017", "< 0.001", or a dash for a test of one fold."""
    if not np.isfinite(value):
        return MISSING
    return format(value, ".3f") if value >= 0.001 else "< 0.001"
