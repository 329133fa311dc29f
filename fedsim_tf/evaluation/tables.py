"""Tables 1 to 3 of the paper beside our own numbers; as Markdown, CSV and LaTeX."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tabulate import tabulate

from fedsim_tf import arms
from fedsim_tf.data.splits import PAPER_SIZES, SplitSizes
from fedsim_tf.evaluation import paper
from fedsim_tf.evaluation.comparison import Cell, of_cell
from fedsim_tf.evaluation.paper import Published

MISSING = "-"
_FORMATS = {"md": "github", "tex": "latex_booktabs"}
_CAPTIONS = {"md": "{}\n\n", "tex": "% {}\n", "csv": "# {}\n"}
ABLATION_SITE, ABLATION_LABELS = "ct20", 4


class Table(NamedTuple):
    """Words in rows."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def table_1(metrics: Iterable[Mapping[str, Any]]) -> Table:
    """Volumes of each data set's parts, and the paper's."""
    found: dict[str, Mapping[str, int]] = {}
    for one in metrics:
        found |= one["facts"].get("split", {})
    rows = []
    parts = SplitSizes._fields
    for site, published in PAPER_SIZES.items():
        mine = [str(found[site][part]) if site in found else MISSING for part in parts]
        rows.append([site, *mine, " / ".join(map(str, published))])
    return Table(("data set", *parts, "paper"), rows)


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
        found = [of_cell(cells, Cell(experiment, arm, *column)) for column in paper.COLUMNS]
        first = [experiment.replace("_", " "), arms.title(arm)]
        rows.append([*first, "ours", *(ours(values) for values in found)])
        rows.append(["", "", "paper", *(theirs(published[column]) for column in paper.COLUMNS)])
    return Table(headings, rows)


def table_3_differences(cells: Mapping[Cell, Sequence[float]]) -> Table:
    """Ours less the paper's, and the number of folds, in every cell of Table 3."""
    rows = []
    for (experiment, arm), published in paper.TABLE_3.items():
        found = [(of_cell(cells, Cell(experiment, arm, *column)), published[column]) for column in paper.COLUMNS]
        words = [f"{difference(values, one)} ({len(values)})" if len(values) else MISSING for values, one in found]
        rows.append([experiment.replace("_", " "), arms.title(arm), *words])
    headings = [f"{site} {labels} (folds)" for site, labels in paper.COLUMNS]
    return Table(("", "arm", *headings), rows)


def cell_name(cell: Cell) -> list[str]:
    """Experiment, and data set with its number of labels, in words."""
    return [cell.experiment.replace("_", " "), f"{cell.site} {cell.labels}"]


def row_name(cell: Cell) -> list[str]:
    """The same, and the arm."""
    return [*cell_name(cell), arms.title(cell.arm)]


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


def as_text(table: Table, kind: str, caption: str = "") -> str:
    """The table as "md", "tex" or "csv", after its caption where it has one."""
    above = _CAPTIONS[kind].format(caption) if caption else ""
    if kind == "csv":
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows([table.headings, *table.rows])
        return above + text.getvalue()
    rows = [list(row) for row in table.rows]
    body = tabulate(rows, headers=list(table.headings), tablefmt=_FORMATS[kind], disable_numparse=True)
    return above + body + "\n"
