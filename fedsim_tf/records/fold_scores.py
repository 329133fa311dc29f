"""The scores of a fold (scores.json): of each arm at each site, and of its synthetic volumes."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import MEASURES, Agreement, mean_agreement
from fedsim_tf.records.likeness_record import Likeness
from fedsim_tf.records.versioned import Record, read_record
from fedsim_tf.regions import REGIONS

SCORES = "scores.json"


@dataclasses.dataclass(frozen=True)
class CaseScores(Agreement):
    """Agreement of an arm's mask of one test volume with the true one, and how large both are.

    Attributes:
      found_ml, true_ml: the heart's volume in the arm's mask and in the true one; None in files before version 4.
    """

    found_ml: float | None = None
    true_ml: float | None = None

    @property
    def error_ml(self) -> float | None:
        """Return the found less the true volume in ml, negative where the mask is too small; None where not known."""
        return None if self.found_ml is None or self.true_ml is None else self.found_ml - self.true_ml


@dataclasses.dataclass(frozen=True)
class RegionScores(Agreement):
    """Agreement of an arm's masks with the true ones in one region, its mean over the volumes in which it counts.

    Attributes:
      cases: the agreement in each of these volumes, by identity; see `metrics.compare_regions`.
    """

    cases: Mapping[str, Agreement]


@dataclasses.dataclass(frozen=True)
class ArmScores(Agreement):
    """Agreement of an arm's masks with the true ones, its mean over the test part's volumes.

    It is that of the heart as a whole, of networks that tell regions apart too.

    Attributes:
      cases: each volume's own scores, by its identity.
      likeness: None for an arm without synthetic volumes.
      regions: by the short name of a region (`regions.REGIONS`), those that the test part's true labels have; None
        where labels are heart or not, as in files of version 1.
    """

    cases: Mapping[str, CaseScores]
    likeness: Likeness | None = None
    regions: Mapping[str, RegionScores] | None = None

    def find_region(self, short_name: str) -> RegionScores | None:
        """Return the scores of a region; None where it has none."""
        return (self.regions or {}).get(short_name)


# By site, or for patients at another hospital by kind of image; then by arm.
ScoresBySite = Mapping[str, Mapping[str, ArmScores]]


@dataclasses.dataclass(frozen=True)
class FoldScores(Record):
    """The scores of a fold, or of one site of a federated fold.

    Attributes:
      sites: by site and arm.
    """

    # 2: arms may have scores by region; 3: likeness measures the volumes themselves; 4: cases have their volumes in ml
    VERSION: ClassVar[int] = 4
    REMEDY: ClassVar[str] = "move it away, and the run's command makes it anew"

    sites: ScoresBySite

    def __post_init__(self) -> None:
        if not self.sites or not all(self.sites.values()):
            raise InputError("no scores")


def has_scores(fold_dir: pathlib.Path) -> bool:
    """Return whether a fold, or a site's part of it, has scores."""
    return (fold_dir / SCORES).exists()


def read_fold_scores(fold_dir: str | os.PathLike, *, site: str) -> FoldScores:
    """Return the scores of a finished fold, or of a site's part of it.

    Args:
      fold_dir: the folder of the fold or of the site in it.
      site: the only site's name; files from before there was a version do not say it.

    Raises:
      InputError: see `read_record`.
    """

    def upgrade(values: dict[str, Any]) -> dict[str, Any]:
        is_by_arm = any(isinstance(one, dict) and MEASURES[0] in one for one in values.values())
        return {"sites": {site: values} if is_by_arm else values}

    return read_record(pathlib.Path(fold_dir) / SCORES, FoldScores, upgrade=upgrade)


@dataclasses.dataclass(frozen=True)
class ArmSummary:
    """An arm's scores over folds: their number, mean and, with two folds or more, sample standard deviation.

    Attributes:
      regions: the same by region, over the folds that have scores of it; empty where labels are heart or not.
    """

    folds: int
    mean: Agreement
    std: Agreement | None
    regions: Mapping[str, ArmSummary] = dataclasses.field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the means by measure, the deviations by measure and "_std", the number of folds, and all by region."""
        spreads = {} if self.std is None else {f"{name}_std": getattr(self.std, name) for name in MEASURES}
        regions = {name: row.to_json() for name, row in self.regions.items()}
        by_region = {"regions": regions} if regions else {}
        return {"folds": self.folds, **dataclasses.asdict(self.mean), **spreads, **by_region}


def summarize_folds(folds: Sequence[ScoresBySite]) -> dict[str, dict[str, ArmSummary]]:
    """Return the summary of each site's arms over folds, all of which have the sites and arms of the first."""
    return {
        site: {arm: _summarize([fold[site][arm] for fold in folds]) for arm in arms} for site, arms in folds[0].items()
    }


def _summarize(scores: Sequence[ArmScores]) -> ArmSummary:
    regions = {}
    for name in (region.short_name for region in REGIONS.values()):
        found = [region for one in scores if (region := one.find_region(name)) is not None]
        if found:
            regions[name] = _summarize_one(found)
    return dataclasses.replace(_summarize_one(scores), regions=regions)


def _summarize_one(scores: Sequence[Agreement]) -> ArmSummary:
    mean = mean_agreement(scores)
    if len(scores) < 2:
        return ArmSummary(len(scores), mean, None)
    spreads = {name: float(np.std([getattr(one, name) for one in scores], ddof=1)) for name in MEASURES}
    return ArmSummary(len(scores), mean, Agreement(**spreads))
