"""Arms against each other, and regions against the heart, with a paired t-test over folds at one site or at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf import arms
from fedsim_tf.config import LABEL_SIZES, PAPER_LABELS
from fedsim_tf.evaluation.comparison import Cell, collect_scores, find_scores, name_by_kind, paired_test
from fedsim_tf.evaluation.tables import MISSING, Table, experiment_and_data
from fedsim_tf.records.run_metrics import SINGLE_SITE_RUN, RunMetrics
from fedsim_tf.regions import HEART

Pairs = Iterable[tuple[str, str]]  # an arm, and the one that it is compared with

AGAINST_LOWER_BOUND = tuple((arm, "lower_bound") for arm in arms.ARMS if arm != "lower_bound")
AMONG_TABLE_3 = (
    ("ours_pre", "ours_fix_mat"),
    ("ours_full", "ours_fix_mat"),
    ("ours_full", "ours_pre"),
    ("ours_plus", "ours_full"),
    ("ours_plus", "upper_bound"),
    ("ours_plus", "random_contrast"),
    *((f"{arm}_augmented", "lower_bound_augmented") for arm in ("random_contrast", "ours_full", "ours_plus")),
    (arms.FEDERATED_SIMULATION, arms.DIRECT),
    *((arms.FEDERATED_PLUS, arm) for arm in (arms.FEDERATED_SIMULATION, arms.DIRECT)),
)
AMONG_TABLE_2 = (
    ("random_shape", "random_place"),
    *((arm, "random_shape") for arm in ("alpha_blend", "poisson_blend")),
    *(("fix_mat_alone", arm) for arm in arms.ABLATION if arm != "fix_mat_alone"),
)
_HEADINGS = ("", "data", "arm", "less", "Dice", "p, paired t", "Cohen's d", "folds")
Cells = Mapping[Cell, Sequence[float]]


class _Pair(NamedTuple):
    """A cell, the one that it is compared with, and the scores of the folds that both have."""

    cell: Cell
    other: Cell
    values: Sequence[float]
    others: Sequence[float]


def compare_at_each_site(cells: Cells, pairs: Pairs) -> Table:
    """Return each arm less its partner on the same data.

    The partner is of the same experiment, or else the single site's. The latter is the paper's comparison, in which a
    federated run's U-Nets take three volumes a step and the single site's one.
    """
    return _list_by_site(_pair_arms(cells, pairs))


def compare_over_all_sites(cells: Cells, pairs: Pairs) -> Table:
    """Return each arm less its partner over the folds of all data sets.

    The paper's smaller and larger numbers of labels have rows of their own. Arms that ran on one data set alone are
    left out: `compare_at_each_site` has their rows.
    """
    return _list_over_sites(_pair_arms(cells, pairs))


def compare_kinds_at_each_site(metrics: Sequence[RunMetrics]) -> Table:
    """Return each arm by region less the same arm of the heart, on the same data with the same seed.

    Both scores are those of the whole heart, which is the union of the regions. Runs of other seeds are not compared.
    """
    return _list_by_site(_pair_kinds(metrics))


def compare_kinds_over_all_sites(metrics: Sequence[RunMetrics]) -> Table:
    """Return each arm by region less the same arm of the heart over the folds of all data sets.

    See `compare_kinds_at_each_site` for what is compared and `compare_over_all_sites` for the rows.
    """
    return _list_over_sites(_pair_kinds(metrics))


def _pair_arms(cells: Cells, pairs: Pairs) -> Iterator[_Pair]:
    """Give each cell of a pair's first arm that has a partner."""
    pairs = tuple(pairs)
    for cell in dict.fromkeys(other._replace(arm=arm) for other in cells for arm, _ in pairs):
        for reference in (second for first, second in pairs if first == cell.arm):
            other = cell._replace(arm=reference)
            others = find_scores(cells, other) or find_scores(cells, other._replace(experiment=SINGLE_SITE_RUN))
            yield from _pair_folds(cell, other, find_scores(cells, cell), others)


def _pair_kinds(metrics: Sequence[RunMetrics]) -> Iterator[_Pair]:
    """Give each cell of networks by region that has one of the heart in a run with the same seed."""
    for seed in dict.fromkeys(one.facts.seed for one in metrics):
        cells = collect_scores([one for one in metrics if one.facts.seed == seed])
        for cell in (one for one in cells if one.label_kind != HEART):
            other = cell._replace(label_kind=HEART)
            yield from _pair_folds(cell, other, cells[cell], find_scores(cells, other))


def _pair_folds(cell: Cell, other: Cell, values: Sequence[float], others: Sequence[float]) -> Iterator[_Pair]:
    folds = min(len(values), len(others))
    if folds:
        yield _Pair(cell, other, values[:folds], others[:folds])


def _list_by_site(pairs: Iterable[_Pair]) -> Table:
    rows = [
        [*experiment_and_data(_common(one)), *_name_arms(one), *_test_words(one.values, one.others)] for one in pairs
    ]
    return Table(_HEADINGS, rows)


def _list_over_sites(pairs: Iterable[_Pair]) -> Table:
    found: dict[tuple[str, ...], list[_Pair]] = {}
    for one in pairs:
        cell = _common(one)
        if cell.labels in PAPER_LABELS.get(cell.site, ()):
            size = LABEL_SIZES[PAPER_LABELS[cell.site].index(cell.labels)]
            found.setdefault((cell.experiment, size, cell.label_kind, *_name_arms(one)), []).append(one)
    rows = []
    for (experiment, size, kind, *names), sites in found.items():
        if len(sites) > 1:
            first = np.concatenate([one.values for one in sites]).tolist()
            second = np.concatenate([one.others for one in sites]).tolist()
            data = name_by_kind(f"{size} labels, {len(sites)} data sets", kind)
            rows.append([experiment.replace("_", " "), data, *names, *_test_words(first, second)])
    return Table(_HEADINGS, rows)


def _common(pair: _Pair) -> Cell:
    """Return the cell whose data stands for both: where kinds of labels differ, the names of the arms say them."""
    return pair.cell if pair.cell.label_kind == pair.other.label_kind else pair.cell._replace(label_kind=HEART)


def _name_arms(pair: _Pair) -> list[str]:
    """Return the titles of both arms, with the kind of labels where it differs between them."""
    cells = (pair.cell, pair.other)
    if pair.cell.label_kind == pair.other.label_kind:
        return [arms.title(cell.arm) for cell in cells]
    return [name_by_kind(arms.title(cell.arm), cell.label_kind) for cell in cells]


def _test_words(first: Sequence[float], second: Sequence[float]) -> list[str]:
    test = paired_test(first, second)
    effect = format(test.effect, "+.2f") if np.isfinite(test.effect) else MISSING
    return [f"{test.difference:+.2f}", format_p(test.p), effect, str(test.pairs)]


def format_p(value: float) -> str:
    """Return a p-value such as "0.017" or "< 0.001"; a dash for a test of one fold."""
    if not np.isfinite(value):
        return MISSING
    return format(value, ".3f") if value >= 0.001 else "< 0.001"
