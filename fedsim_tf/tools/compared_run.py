"""A run that is compared with others: what its finished folds have left."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from fedsim_tf import arms
from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.metrics import Agreement, mean_agreement
from fedsim_tf.records.fold_data import DATA, LABELLED, TEST, FoldData, read_fold_data
from fedsim_tf.records.fold_scores import SCORES, ArmScores, has_scores, read_fold_scores
from fedsim_tf.training.run import fold_path, is_federated, list_site_paths, reopen_run


class FoldAt(NamedTuple):
    """The number of a fold, and the site whose part of it is meant."""

    site: str
    number: int


class PatientAt(NamedTuple):
    """A patient's scan, and the site that has tested it."""

    site: str
    scan: str


@dataclasses.dataclass(frozen=True, eq=False)
class ComparedRun:
    """The scores of a run's finished folds.

    Attributes:
      name: the end of its folder's path, as long as it has to be to tell the runs apart.
      path: its folder.
      config: its configuration.
      scores: by fold and site, then by arm.
      data: what each fold and site has noted of its volumes; those that have noted nothing are left out.
      unfinished: the numbers of the folds that are left out.
    """

    name: str
    path: pathlib.Path
    config: Config
    scores: Mapping[FoldAt, Mapping[str, ArmScores]]
    data: Mapping[FoldAt, FoldData]
    unfinished: Sequence[int]

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that have scores."""
        return tuple(dict.fromkeys(place.site for place in self.scores))

    def list_arms(self, site: str) -> list[str]:
        """Return the arms that every finished fold of a site has, in the order of tables."""
        found = [set(by_arm) for place, by_arm in self.scores.items() if place.site == site]
        shared = set.intersection(*found) if found else set()
        return [arm for arm in arms.ARMS if arm in shared]

    def patients(self, site: str, arm: str) -> dict[PatientAt, Agreement]:
        """Return an arm's scores by patient; the mean of those of a patient whom several folds test."""
        each: dict[PatientAt, list[Agreement]] = {}
        for place, by_arm in self.scores.items():
            if place.site == site:
                for scan, case in by_arm[arm].cases.items():
                    each.setdefault(PatientAt(site, scan), []).append(case)
        return {patient: mean_agreement(cases) for patient, cases in each.items()}

    def tested(self) -> dict[PatientAt, tuple[float, ...] | None]:
        """Return every patient that is tested, with the marks of the volume; None where these were not noted."""
        found: dict[PatientAt, tuple[float, ...] | None] = {}
        for place, by_arm in self.scores.items():
            marks = self.data[place].parts.get(TEST, {}) if place in self.data else {}
            for scores in by_arm.values():
                found |= {PatientAt(place.site, scan): marks.get(scan) for scan in scores.cases}
        return found

    def patients_of(self, place: FoldAt) -> set[str]:
        """Return the scans that a fold tests at a site; none where it is not finished."""
        return {scan for scores in self.scores.get(place, {}).values() for scan in scores.cases}

    def count_labels(self, site: str) -> set[int]:
        """Return how many annotated training volumes the folds of a site have."""
        return {len(data.parts.get(LABELLED, ())) for place, data in self.data.items() if place.site == site}


def read_compared_run(folder: pathlib.Path, name: str) -> ComparedRun:
    """Read what the finished folds of a run have left.

    Args:
      folder: the run's.
      name: what tables call it.

    Raises:
      InputError: none is finished, or a file is damaged.
    """
    config = reopen_run(folder).config
    scores: dict[FoldAt, Mapping[str, ArmScores]] = {}
    data: dict[FoldAt, FoldData] = {}
    unfinished = []
    for number in range(config.data.folds):
        found = list(_find_parts(fold_path(folder, number), config, number))
        for place, part in found:
            scores[place] = _read_scores(part, place.site)
            if (part / DATA).exists():
                data[place] = read_fold_data(part / DATA)
        unfinished += [] if found else [number]
    if not scores:
        if has_scores(folder):
            raise InputError(folder, found="a fold", expected=f"the folder of its run, {folder.parent}")
        raise InputError(folder, found="no finished fold", expected="a run with at least one, such as runs/demo")
    return ComparedRun(name, folder, config, scores, data, unfinished)


def _read_scores(part: pathlib.Path, site: str) -> Mapping[str, ArmScores]:
    sites = read_fold_scores(part, site=site).sites
    if site not in sites:
        raise InputError(part / SCORES, found=f"scores of {', '.join(sites)}", expected=f"those of {site}")
    return sites[site]


def _find_parts(fold: pathlib.Path, config: Config, number: int) -> Iterator[tuple[FoldAt, pathlib.Path]]:
    """Give the folder of each site that has finished a fold."""
    if is_federated(fold):
        for part in list_site_paths(fold):
            if has_scores(part):
                yield FoldAt(part.name, number), part
    elif has_scores(fold):
        yield FoldAt(config.dataset, number), fold
