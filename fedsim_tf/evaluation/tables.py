"""Tables 2 and 3 of the paper beside our own numbers, as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tabulate import tabulate

from fedsim_tf import arms
from fedsim_tf.evaluation import paper
from fedsim_tf.evaluation.comparison import Cell, paired_test
from fedsim_tf.evaluation.paper import Published

MISSING = "-"
_FORMATS = {"md": "github", "tex": "latex_booktabs"}
ABLATION_SITE, ABLATION_LABELS = "ct20", 4
REFERENCE = "lower_bound"  # what arms of the same experiment are tested against


class Table(NamedTuple):
    """Words in rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def table_2(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Ablations: ours, the paper's, the difference, folds."""
    rows = []
    for arm, published in paper.TABLE_2.items():
        values = cells.get(Cell("single_site", arm, ABLATION_SITE, ABLATION_LABELS), ())
        rows.append([arms.title(arm), ours(values), theirs(published), difference(values, published), str(len(values))])
    return Table(("method", "Dice %", "paper", "difference", "folds"), rows)


def table_3(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Every row of Table 3; in each column ours above the paper's."""
    headings = ["", "arm", "", *(f"{site} {labels}" for site, labels in paper.COLUMNS)]
    rows = []
    for (experiment, arm), published in paper.TABLE_3.items():
        found = [cells.get(Cell(experiment, arm, *column), ()) for column in paper.COLUMNS]
        first = [experiment.replace("_", " "), arms.title(arm)]
        rows.append([*first, "ours", *(ours(values) for values in found)])
        rows.append(["", "", "paper", *(theirs(published[column]) for column in paper.COLUMNS)])
    return Table(headings, rows)


def differences(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Each arm against the lower bound of its own experiment, with a paired t-test over folds."""
    rows = []
    for cell, values in cells.items():
        reference = cells.get(cell._replace(arm=REFERENCE))
        if reference is None or cell.arm == REFERENCE:
            continue
        test = paired_test(values, reference)
        numbers = [f"{test.difference:+.2f}", _or_missing(test.p, ".3f"), _or_missing(test.effect, "+.2f")]
        name = [cell.experiment.replace("_", " "), f"{cell.site} {cell.labels}", arms.title(cell.arm)]
        rows.append([*name, *numbers, str(test.folds)])
    return Table(("", "data", "arm", "Dice less the lower bound's", "p, paired t", "Cohen's d", "folds"), rows)


def ours(values: Sequence[float]) -> str:
    """ "88.95 ± 2.97", the mean alone for one fold, or a dash."""
    if not len(values):
        return MISSING
    return f"{np.mean(values):.2f}" + (f" ± {np.std(values, ddof=1):.2f}" if len(values) > 1 else "")


def theirs(published: Published) -> str:
    """The same of what the paper prints."""
    mean, sd = published
    return f"{mean:.2f}" + ("" if sd is None else f" ± {sd:.2f}")


def difference(values: Sequence[float], published: Published) -> str:
    """Ours less the paper's, or a dash."""
    return f"{np.mean(values) - published[0]:+.2f}" if len(values) else MISSING


def as_text(table: Table, kind: str) -> str:
    """The table as "md", "tex" or "csv"."""
    if kind == "csv":
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([table.headings, *table.rows])
        return text.getvalue()
    rows = [list(row) for row in table.rows]
    return tabulate(rows, headers=list(table.headings), tablefmt=_FORMATS[kind], disable_numparse=True) + "\n"


def _or_missing(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else MISSING
