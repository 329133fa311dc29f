"""Write the pages of a run from what its folders hold: one of each fold at each site, and one that leads to them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from absl import logging

from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.fold_page import FoldPage, write_fold_page
from fedsim_tf.evaluation.report import PageLink, write_report
from fedsim_tf.evaluation.shown_volumes import SHOWN_VOLUMES, ShownVolume, read_shown_volumes
from fedsim_tf.evaluation.volumes_table import volumes_table
from fedsim_tf.files import list_whole_files
from fedsim_tf.records.fold_data import DATA, read_fold_data
from fedsim_tf.records.fold_scores import ArmScores, ScoresBySite
from fedsim_tf.records.run_metrics import FEDERATED_RUN, RunFacts, RunMetrics, StageRecords
from fedsim_tf.runs.inputs import describe_source
from fedsim_tf.training.run import CONFIG, SITES, RunFolder, fold_path, reopen_run, site_path

REPORT = "report.html"


class _Part(NamedTuple):
    """A fold of a run at one of its sites: its folder and its scores by arm."""

    fold: int
    site: str
    folder: pathlib.Path
    scores: Mapping[str, ArmScores]


def write_pages(run: RunFolder, metrics: RunMetrics, *, title: str) -> pathlib.Path:
    """Write a run's page, and a page for each fold at each site unless there is only one, which the run's page holds.

    Pages are made of what the folders hold, and links between them are relative: the run's folder can be moved.

    Args:
      run: the run's folder.
      metrics: the results of all its folds.
      title: the heading of the run's page.

    Returns:
      The run's page.
    """
    is_federated = metrics.facts.experiment == FEDERATED_RUN
    numbers = range(len(metrics.folds))
    parts = [part for number in numbers for part in _list_parts(run, number, metrics.folds[number], metrics.facts)]
    links = []
    if len(parts) > 1:
        for part in parts:
            page = _gather(run, part, metrics.facts)
            write_fold_page(part.folder / REPORT, page, top=_relative(run.path / REPORT, part.folder))
            where = f"fold {part.fold}, {part.site}"
            links.append(PageLink(_relative(part.folder / REPORT, run.path), where, tuple(page.scores)))
    write_report(
        run.path / REPORT,
        title=title,
        facts=metrics.facts,
        summary=metrics.summary,
        volumes=volumes_table([metrics]),
        is_phantom=run.config.is_phantom,
        links=links,
        fold=_gather(run, parts[0], metrics.facts) if len(parts) == 1 else None,
        stages=_read_shared_stages(run, numbers) if is_federated else {},
        pictures=list(_list_shared_pictures(run, numbers)) if is_federated else [],
    )
    return run.path / REPORT


def write_pages_of_fold(run: RunFolder, number: int, scores: ScoresBySite, facts: RunFacts) -> list[pathlib.Path]:
    """Write the pages of a fold that is finished before the run is, one for each site, and return them.

    Args:
      run: the run's folder.
      number: the fold's number.
      scores: the fold's scores.
      facts: what ran.
    """
    written = []
    for part in _list_parts(run, number, scores, facts):
        page = _gather(run, part, facts)
        write_fold_page(part.folder / REPORT, page, top=_relative(run.path / REPORT, part.folder))
        written.append(part.folder / REPORT)
    return written


def _list_parts(run: RunFolder, number: int, scores: ScoresBySite, facts: RunFacts) -> list[_Part]:
    folder, is_federated = fold_path(run.path, number), facts.experiment == FEDERATED_RUN
    return [
        _Part(number, site, site_path(folder, site) if is_federated else folder, by_arm)
        for site, by_arm in scores.items()
    ]


def _gather(run: RunFolder, part: _Part, facts: RunFacts) -> FoldPage:
    """Return what the page of a fold at a site shows."""
    note = part.folder / DATA
    return FoldPage(
        title=f"{describe_source(run.config, part.site)}, fold {part.fold}",
        scores=part.scores,
        data=read_fold_data(note) if note.exists() else None,
        shown=_read_shown(part.folder),
        pictures=list_whole_files(part.folder / "pictures", "*.png"),
        volumes=volumes_table([RunMetrics(facts=facts, folds=({part.site: part.scores},))]),
        stages=_read_stages(part.folder),
        is_phantom=run.config.is_phantom,
    )


def _read_stages(folder: pathlib.Path) -> StageRecords:
    """Return the records of the stages that a folder has finished itself, not those of sites in it."""
    found = reopen_run(folder).records() if (folder / CONFIG).exists() else {}
    return {name: record for name, record in found.items() if not name.startswith(f"{SITES}/")}


def _read_shown(folder: pathlib.Path) -> list[ShownVolume]:
    """Return the volumes that a fold has kept for its page; none where it has kept none or they are damaged."""
    file = folder / SHOWN_VOLUMES
    if not file.exists():
        return []
    try:
        return read_shown_volumes(file)
    except InputError as error:
        logging.warning("%s; the page is made without volumes to scroll", error)
        return []


def _read_shared_stages(run: RunFolder, numbers: Iterable[int]) -> StageRecords:
    """Return the records of the stages that all sites of a federated run have together, by fold and stage."""
    return {
        f"fold_{number}/{name}": record
        for number in numbers
        for name, record in _read_stages(fold_path(run.path, number)).items()
    }


def _list_shared_pictures(run: RunFolder, numbers: Iterable[int]) -> Iterator[tuple[str, pathlib.Path]]:
    """Give the pictures of what all sites of a federated run have learnt together, with their names."""
    for number in numbers:
        for file in list_whole_files(fold_path(run.path, number) / "pictures", "*.png"):
            yield f"fold_{number}_{file.stem}", file


def _relative(path: pathlib.Path, folder: pathlib.Path) -> str:
    return pathlib.Path(os.path.relpath(path, folder)).as_posix()
