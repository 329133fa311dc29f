"""A run's table on the terminal, and its report: one HTML page beside the pictures that it shows."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from fedsim_tf import arms
from fedsim_tf.evaluation.pages import render_page
from fedsim_tf.evaluation.tables import Table
from fedsim_tf.evaluation.volumes_table import READ_AS, VOLUMES
from fedsim_tf.records.fold_scores import ArmSummary
from fedsim_tf.records.run_metrics import RunFacts, StageRecords
from fedsim_tf.records.versioned import convert_to_json
from fedsim_tf.regions import REGIONS

Summary = Mapping[str, Mapping[str, ArmSummary]]  # by site and arm


def format_score(row: ArmSummary, measure: str) -> str:
    """Return an arm's mean and standard deviation, such as "87.65 ± 2.20"; the mean alone of one fold."""
    mean = f"{getattr(row.mean, measure):.2f}"
    return mean if row.std is None else f"{mean} ± {getattr(row.std, measure):.2f}"


def list_regions(summary: Summary) -> list[str]:
    """Return the short names of the regions of which some arm has scores, in the order of their ids."""
    found = {name for rows in summary.values() for row in rows.values() for name in row.regions}
    return [region.short_name for region in REGIONS.values() if region.short_name in found]


def mean_over_regions(row: ArmSummary, measure: str) -> str:
    """Return the mean of an arm's regions, each its mean over folds."""
    return f"{np.mean([getattr(region.mean, measure) for region in row.regions.values()]):.2f}"


def print_table(title: str, summary: Summary) -> None:
    """Print Dice and IoU of every site and arm on the terminal."""
    # Folders in the title may contain what rich takes for markup, such as [v1].
    table = TerminalTable(title=Text(title, style="table.title"))
    for heading in ("site", "arm", "Dice %", "IoU %", "folds"):
        table.add_column(heading)
    for site, rows in summary.items():
        for arm, row in rows.items():
            words = (site, arms.title(arm), format_score(row, "dice"), format_score(row, "iou"), str(row.folds))
            table.add_row(*map(Text, words))
    Console().print(table)


def write_report(
    path: pathlib.Path,
    *,
    title: str,
    facts: RunFacts,
    summary: Summary,
    volumes: Table,
    stages: StageRecords,
    pictures: Sequence[tuple[str, str]],
) -> None:
    """Write the report.

    Args:
      path: the HTML file; picture paths are relative to its folder.
      title: the page's heading.
      facts: what ran, on which data.
      summary: scores over folds.
      volumes: measures of synthetic and real volumes, see `volumes_table`.
      stages: the stages' records, with their losses at start and end.
      pictures: (relative path, caption).
    """
    render_page(
        path,
        "report.html.j2",
        title=title,
        facts=convert_to_json(facts),
        summary=summary,
        volumes=volumes,
        volumes_title=VOLUMES,
        volumes_note=READ_AS,
        stages=stages,
        pictures=pictures,
        arm_title=arms.title,
        format_score=format_score,
        regions=list_regions(summary),
        mean_over_regions=mean_over_regions,
    )
