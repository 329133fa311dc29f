"""A run's table on the terminal, and its report: one HTML page that leads to those of its folds and sites."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table as TerminalTable
from rich.text import Text

from fedsim_tf import arms
from fedsim_tf.data.splits import SplitSizes
from fedsim_tf.evaluation.captions import caption
from fedsim_tf.evaluation.fold_page import FoldPage, describe_fold, describe_times, embed_picture
from fedsim_tf.evaluation.pages import render_page
from fedsim_tf.evaluation.tables import Table
from fedsim_tf.evaluation.volumes_table import READ_AS, VOLUMES
from fedsim_tf.records.fold_scores import ArmSummary
from fedsim_tf.records.run_metrics import FEDERATED_RUN, SINGLE_SITE_RUN, RunFacts, StageRecords
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


class PageLink(NamedTuple):
    """A page that a run's page leads to: its path relative to the run's page, what it shows and the arms on it."""

    path: str
    title: str
    arms: Sequence[str]


def write_report(
    path: pathlib.Path,
    *,
    title: str,
    facts: RunFacts,
    summary: Summary,
    volumes: Table,
    is_phantom: bool,
    links: Sequence[PageLink] = (),
    fold: FoldPage | None = None,
    stages: StageRecords | None = None,
    pictures: Sequence[tuple[str, pathlib.Path]] = (),
) -> None:
    """Write a run's page as one file, which leads to those of its folds and sites, or holds that of its only one.

    Args:
      path: the HTML file.
      title: the page's heading.
      facts: what ran, on which data.
      summary: scores over folds.
      volumes: measures of synthetic and real volumes, see `volumes_table`.
      is_phantom: whether phantoms stand in for patients.
      links: pages of folds and sites.
      fold: the run's only fold at its only site, in place of links.
      stages: the records of stages that are on no page below.
      pictures: names and PNG files of pictures that are on no page below.
    """
    render_page(
        path,
        "report.html.j2",
        title=title,
        facts=describe_facts(facts),
        summary=summary,
        volumes=volumes,
        volumes_title=VOLUMES,
        volumes_note=READ_AS,
        is_phantom=is_phantom,
        links=links,
        fold=None if fold is None else describe_fold(fold),
        times=describe_times(stages or {}),
        pictures=[(embed_picture(file), f"{caption(file)} {name}.", name) for name, file in pictures],
        arm_title=arms.title,
        format_score=format_score,
        regions=list_regions(summary),
        mean_over_regions=mean_over_regions,
    )


def describe_facts(facts: RunFacts) -> list[tuple[str, str]]:
    """Return the names and values of what is known of a run, both in words."""
    found = []
    for field in dataclasses.fields(facts):
        value = getattr(facts, field.name)
        if value is not None:
            found.append((_FACTS.get(field.name, field.name), _describe_fact(value)))
    return found


_FACTS = {
    "split": "volumes in each fold",
    "experiment": "kind of run",
    "labelled": "annotated training volumes",
    "label_kind": "what networks tell apart",
    "commit": "code",
    "vgg": "VGG-19 weights",
}


def _describe_fact(value: object) -> str:
    if isinstance(value, SplitSizes):
        return f"{value.train} training, {value.validation} validation, {value.test} test"
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_describe_fact(one)}" for name, one in value.items())
    return str(value).replace("_", " ") if value in (SINGLE_SITE_RUN, FEDERATED_RUN) else str(value)
