"""The start of a visit: patients of one hospital at another, opened and checked without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.records.run_metrics import RunMetrics, read_metrics
from fedsim_tf.runs.inputs import describe_source
from fedsim_tf.training.run import CONFIG, METRICS, RunFolder, is_federated, reopen_run, site_path

STAGE = "semi_supervised"  # after which the enhancement network is taken


class VisitedFold(NamedTuple):
    """A fold of a run, with its number."""

    run: RunFolder
    number: int

    @property
    def config(self) -> Config:
        return self.run.config

    @property
    def data(self) -> str:
        return describe_source(self.config, self.config.dataset)


@dataclasses.dataclass(frozen=True, eq=False)
class Visit:
    """Folds of two hospitals' runs that meet. `open_visit` makes it.

    Attributes:
      pairs: for each pair, the fold of the patients' home hospital and that of the host.
      shared: the host's folder in each fold of a federated run, by the fold's number; empty without one.
      output: the folder for metrics.json and pictures.
      cache_dir: where the phantom cohort and prepared volumes are kept.
    """

    pairs: Sequence[tuple[VisitedFold, VisitedFold]]
    shared: Mapping[int, RunFolder]
    output: pathlib.Path
    cache_dir: pathlib.Path

    @property
    def title(self) -> str:
        """Return whose patients are where, for tables and pictures."""
        home, host = self.pairs[0]
        return f"Patients of {home.data} at {host.data}"


def open_visit(
    patients: str | os.PathLike,
    hospital: str | os.PathLike,
    output: str | os.PathLike,
    *,
    cache_dir: pathlib.Path,
    federated: str | os.PathLike | None = None,
) -> Visit:
    """Open the runs of two hospitals and refuse what cannot be compared. Nothing is written.

    Args:
      patients: the single-site run of the patients' home hospital, or one fold of it.
      hospital: the host's run or fold, which has finished "ours_full". Where both are whole runs, the patients of each
        fold meet the host's networks of the fold with the same number.
      output: a folder for metrics.json and a picture of each fold.
      cache_dir: where the phantom cohort and prepared volumes are kept.
      federated: a federated run, or one fold of it, whose networks at the host are scored too.

    Raises:
      InputError: no such runs, no fold that all have, volumes of different sizes, a fold without its last simulation
        stage, a federated run without the host or with labels of another kind, or an output folder with results of
        something else.
    """
    pairs = _pair_folds(patients, hospital)
    home, host = pairs[0]
    if home.config.model.size != host.config.model.size:
        raise InputError(patients, found=f"{home.config.model.size} voxels", expected=f"{host.config.model.size}")
    for _, one in pairs:
        if one.run.finished(STAGE) is None:
            raise InputError(one.run.path, found=f"no finished stage {STAGE}", expected="a fold with the arm ours_full")
    numbers = [one.number for _, one in pairs]
    shared = _open_federated_site(federated, host.config.dataset, numbers) if federated else {}
    labels = host.config.model.labels
    for run in shared.values():
        if run.config.model.labels != labels:
            expected = f"{labels}, as of the hospital's own run"
            raise InputError(run.path, found=f"labels of kind {run.config.model.labels}", expected=expected)
    _check_output(pathlib.Path(output), home, host)
    return Visit(pairs, shared, pathlib.Path(output), cache_dir)


def open_folds(run_dir: str | os.PathLike) -> list[VisitedFold]:
    """Return a run's folds in order, or the one fold whose folder this is.

    Raises:
      InputError: no run there.
    """
    path = pathlib.Path(run_dir).resolve()
    folders = [path] if _is_fold(path) else sorted(path.glob("fold_*"))
    found = [(folder, re.fullmatch(r"fold_(\d)", folder.name)) for folder in folders]
    folds = [(folder, int(number[1])) for folder, number in found if number and (folder / CONFIG).is_file()]
    if not folds:
        raise InputError(run_dir, found="no run", expected="a run's folder, or that of a fold such as runs/demo/fold_0")
    return [VisitedFold(reopen_run(folder), number) for folder, number in folds]


def _check_output(folder: pathlib.Path, home: VisitedFold, host: VisitedFold) -> None:
    """Refuse a folder with results of something else."""
    expected = "another output folder"
    if (folder / CONFIG).exists():
        raise InputError(folder, found="a run", expected=expected)
    file = folder / METRICS
    if not file.exists():
        return
    earlier = read_metrics(file)
    if isinstance(earlier, RunMetrics):
        raise InputError(file, found="the results of a run", expected=expected)
    found = (earlier.facts.patients, earlier.facts.hospital)
    if found != (home.config.dataset, host.config.dataset):
        raise InputError(file, found=f"patients of {found[0]} at {found[1]}", expected=expected)
    if earlier.facts.label_kind != host.config.model.labels:
        raise InputError(file, found=f"networks with labels of kind {earlier.facts.label_kind}", expected=expected)


def _open_federated_site(run_dir: str | os.PathLike, site: str, numbers: Sequence[int]) -> dict[int, RunFolder]:
    """Return a site's folder in each fold of a federated run, by the fold's number."""
    found = {}
    for fold in open_folds(run_dir):
        path = site_path(fold.run.path, site)
        if not (path / CONFIG).is_file():
            raise InputError(run_dir, found=f"no {site} in fold {fold.number}", expected="a federated run of this site")
        found[fold.number] = reopen_run(path)
    lacking = sorted(set(numbers) - set(found))
    if lacking:
        raise InputError(run_dir, found=f"folds {sorted(found)}", expected=f"fold {lacking[0]} too")
    return found


def _pair_folds(patients: str | os.PathLike, hospital: str | os.PathLike) -> list[tuple[VisitedFold, VisitedFold]]:
    """Return the folds of both runs that have the same number; two given folds are a pair whatever their numbers."""
    home, host = ({fold.number: fold for fold in open_folds(run_dir)} for run_dir in (patients, hospital))
    for run_dir, folds in ((patients, home), (hospital, host)):
        if any(is_federated(fold.run.path) for fold in folds.values()):
            expected = "a single-site run; a federated one is the argument federated"
            raise InputError(run_dir, found="a federated run", expected=expected)
    if all(map(_is_fold, (patients, hospital))):
        return [(*home.values(), *host.values())]  # type: ignore[list-item]
    both = sorted(home.keys() & host.keys())
    if not both:
        raise InputError(hospital, found=f"folds {sorted(host)}", expected=f"one of folds {sorted(home)}")
    return [(home[number], host[number]) for number in both]


def _is_fold(run_dir: str | os.PathLike) -> bool:
    """Return whether a path names a fold and not a run."""
    return pathlib.Path(run_dir).resolve().name.startswith("fold_")
