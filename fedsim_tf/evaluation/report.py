"""A run's table and its report: one HTML page beside the pictures that it shows."""

from __future__ import annotations

import importlib.resources
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2
from rich.console import Console
from rich.table import Table

from fedsim_tf import arms
from fedsim_tf.files import write_text


def number(row: Mapping[str, float], name: str) -> str:
    """ "87.65 +- 2.20", or the mean alone where there is one fold."""
    spread = row.get(f"{name}_std")
    return f"{row[name]:.2f}" + (f" ± {spread:.2f}" if spread is not None else "")


def print_table(title: str, summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Prints Dice and IoU of every site and arm on the terminal."""
    table = Table(title=title)
    for heading in ("site", "arm", "Dice %", "IoU %", "folds"):
        table.add_column(heading)
    for site, rows in summary.items():
        for arm, row in rows.items():
            cells = (site, arms.title(arm), number(row, "dice"), number(row, "iou"), str(row["folds"]))
            table.add_row(*cells)
    Console().print(table)


def write_report(
    path: pathlib.Path,
    *,
    title: str,
    facts: Mapping[str, Any],
    summary: Mapping[str, Mapping[str, Mapping[str, float]]],
    stages: Mapping[str, Any],
    pictures: Sequence[tuple[str, str]],
) -> None:
    """Writes the page.

    Args:
      path: the HTML file; picture paths are relative to its folder.
      facts: what ran, on which data.
      summary: scores over folds, by site and arm.
      stages: the stages' records, with their losses at start and end.
      pictures: (relative path, caption).
    """
    template = importlib.resources.files("fedsim_tf.evaluation").joinpath("templates/report.html.j2")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(
        title=title, facts=facts, summary=summary, stages=stages, pictures=pictures, arm_title=arms.title, number=number
    )
    write_text(path, page)
