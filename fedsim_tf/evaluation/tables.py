"""Tables 1 to 3 of the paper beside this project's numbers; as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from fedsim_tf import arms
from fedsim_tf.data.splits import PAPER_SIZES, SplitSizes
from fedsim_tf.evaluation import paper
from fedsim_tf.evaluation.comparison import Cell, find_scores, list_label_kinds, name_by_kind
from fedsim_tf.evaluation.paper import Published
from fedsim_tf.records.run_metrics import SINGLE_SITE_RUN, RunMetrics

MISSING = "-"
_FORMATS = {"md": "github", "tex": "latex_booktabs"}
_CAPTIONS = {"md": "{}\n\n", "tex": "% {}\n", "csv": "# {}\n"}
ABLATION_SITE, ABLATION_LABELS = "ct20", 4


class Table(NamedTuple):
    """Headings, and rows of as many words."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def table_1(metrics: Iterable[RunMetrics]) -> Table:
    """Return the numbers of volumes in each data set's parts beside the paper's."""
    found: dict[str, SplitSizes] = {}
    for one in metrics:
        found |= one.facts.split or {}
    rows = []
    parts = SplitSizes._fields
    for site, published in PAPER_SIZES.items():
        sizes = list(map(str, found[site])) if site in found else [MISSING] * len(parts)
        rows.append([site, *sizes, " / ".join(map(str, published))])
    return Table(("data set", *parts, "paper"), rows)


def table_2(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Return the ablations: measured and printed Dice, their difference, and the number of folds."""
    rows = []
    for (arm, published), kind in itertools.product(paper.TABLE_2.items(), list_label_kinds(cells)):
        values = cells.get(Cell(SINGLE_SITE_RUN, arm, ABLATION_SITE, ABLATION_LABELS, kind), ())
        beside = (format_published(published), format_difference(values, published)) if published else (MISSING,) * 2
        words = [format_mean(values), *beside]
        rows.append([name_by_kind(arms.title(arm), kind), *words, str(len(values))])
    return Table(("method", "Dice %", "paper", "difference", "folds"), rows)


def table_3(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Return every row of Table 3, the measured numbers above the printed ones.

    Where runs tell regions apart, their numbers stand between: those of the whole heart, the regions' union. Rows that
    the paper does not have follow where they were measured.
    """
    headings = ["", "arm", "", *(f"{site} {labels}" for site, labels in paper.COLUMNS)]
    rows = []
    for (experiment, arm), published in paper.TABLE_3.items():
        names = experiment_and_arm(experiment, arm)
        for kind in list_label_kinds(cells):
            found = [find_scores(cells, Cell(experiment, arm, *column, kind)) for column in paper.COLUMNS]
            rows.append([*names, name_by_kind("ours", kind), *map(format_mean, found)])
            names = ["", ""]
        rows.append(["", "", "paper", *(format_published(published[column]) for column in paper.COLUMNS)])
    for experiment, arm in paper.BEYOND_TABLE_3:
        for kind in list_label_kinds(cells):
            found = [find_scores(cells, Cell(experiment, arm, *column, kind)) for column in paper.COLUMNS]
            if any(map(len, found)):
                means = map(format_mean, found)
                rows.append([*experiment_and_arm(experiment, arm), name_by_kind("ours", kind), *means])
    return Table(headings, rows)


def table_3_differences(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Return the measured less the printed Dice in every cell of Table 3, and the number of folds."""
    rows = []
    for ((experiment, arm), published), kind in itertools.product(paper.TABLE_3.items(), list_label_kinds(cells)):
        words = []
        for column in paper.COLUMNS:
            values = find_scores(cells, Cell(experiment, arm, *column, kind))
            difference = format_difference(values, published[column])
            words.append(f"{difference} ({len(values)})" if len(values) else MISSING)
        row, title = experiment_and_arm(experiment, arm)
        rows.append([row, name_by_kind(title, kind), *words])
    headings = [f"{site} {labels} (folds)" for site, labels in paper.COLUMNS]
    return Table(("", "arm", *headings), rows)


def experiment_and_arm(experiment: str, arm: str) -> list[str]:
    """Return the experiment and the arm in words."""
    return [experiment.replace("_", " "), arms.title(arm)]


def experiment_and_data(cell: Cell) -> list[str]:
    """Return a cell's experiment, and its data set with the number of labels and their kind, in words."""
    return [cell.experiment.replace("_", " "), name_by_kind(f"{cell.site} {cell.labels}", cell.label_kind)]


def experiment_data_and_arm(cell: Cell) -> list[str]:
    """Return a cell's experiment, its data set with the number of labels and their kind, and its arm, in words."""
    return [*experiment_and_data(cell), arms.title(cell.arm)]


def format_mean(values: Sequence[float]) -> str:
    """Return mean and standard deviation, such as "88.95 ± 2.97"; the mean alone of one value, a dash of none."""
    if not len(values):
        return MISSING
    return format_published((float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None))


def format_published(published: Published) -> str:
    """Return a mean and its standard deviation, such as "88.95 ± 2.97"; the mean alone where there is no other."""
    mean, sd = published
    return f"{mean:.2f}" + ("" if sd is None else f" ± {sd:.2f}")


def format_difference(values: Sequence[float], published: Published) -> str:
    """Return the mean of measured values less the printed one, such as "+0.44"; a dash where there are none."""
    return f"{np.mean(values) - published[0]:+.2f}" if len(values) else MISSING


def format_table(table: Table, kind: str, caption: str = "") -> str:
    """Return the table as "md", "tex" or "csv", after its caption where it has one."""
    above = _CAPTIONS[kind].format(caption) if caption else ""
    if kind == "csv":
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([table.headings, *table.rows])
        return above + text.getvalue()
    rows = [list(row) for row in table.rows]
    body = tabulate(rows, headers=list(table.headings), tablefmt=_FORMATS[kind], disable_numparse=True)
    return above + body + "\n"
