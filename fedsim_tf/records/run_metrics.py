"""The results of a run, and of patients at another hospital (metrics.json)."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pydantic

from fedsim_tf.data.splits import SplitSizes
from fedsim_tf.errors import InputError
from fedsim_tf.records.fold_scores import ArmSummary, ScoresBySite, summarize_folds
from fedsim_tf.records.versioned import Record, parse_record, read_object
from fedsim_tf.regions import HEART, LABEL_KINDS

SINGLE_SITE_RUN, FEDERATED_RUN, VISIT = "single_site", "federated", "out_of_distribution"  # experiments
RENDERED, AS_SCANNED = "rendered", "as scanned"  # images of patients at another hospital
_REMEDY = "move it away, and the command that made it makes it anew"


def _check_label_kind(value: str) -> str:
    if value not in LABEL_KINDS:
        raise InputError(f"facts.label_kind {value!r}, not {' or '.join(LABEL_KINDS)}")
    return value


LabelKind = Annotated[str, pydantic.AfterValidator(_check_label_kind)]
StageRecords = Mapping[str, Mapping[str, Any]]  # by stage: what `training.stage` keeps of a finished one


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What ran, on what and with which software. What earlier files do not say is None.

    Attributes:
      data: the cohorts' names and places.
      split: volumes in each part of a fold, by site.
      folds: the number of folds; preset, seed, precision: the configuration's.
      volumes: their size in words.
      experiment: `SINGLE_SITE_RUN` or `FEDERATED_RUN`.
      labelled: annotated training volumes; by site in a federated run.
      label_kind: of `regions.LABEL_KINDS`, what networks tell apart: the heart or its regions. Earlier files, which do
        not say it, are of the heart.
      fedsim_tf, tensorflow: versions; commit: of the code that worked on the run; machine, finished: where and when.
      vgg: the VGG-19 weights.
    """

    data: str
    split: Mapping[str, SplitSizes] | None = None
    folds: int | None = None
    preset: str | None = None
    seed: int | None = None
    volumes: str | None = None
    precision: str | None = None
    experiment: str
    labelled: int | Mapping[str, int]
    label_kind: LabelKind = HEART
    fedsim_tf: str | None = None
    commit: str | None = None
    tensorflow: str | None = None
    machine: str | None = None
    finished: str | None = None
    vgg: str | None = None

    def labels_at(self, site: str) -> int:
        """Return the number of annotated training volumes at a site."""
        return self.labelled[site] if isinstance(self.labelled, Mapping) else self.labelled


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisitFacts:
    """Whose patients were looked at where. What earlier files do not say is None.

    Attributes:
      experiment: `VISIT`.
      patients, hospital: the data sets of the patients and of the hospital's networks.
      data: both cohorts' names and places.
      labelled: annotated training volumes of the hospital.
      label_kind: see `RunFacts`; that of the hospital's networks.
      folds, preset, commit: see `RunFacts`.
    """

    experiment: str = VISIT
    patients: str
    hospital: str
    data: str
    labelled: int
    label_kind: LabelKind = HEART
    folds: int | None = None
    preset: str | None = None
    commit: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Results(Record):
    VERSION: ClassVar[int] = 4  # as of `FoldScores`, and facts say the kind of labels
    REMEDY: ClassVar[str] = _REMEDY

    folds: tuple[ScoresBySite, ...]

    def __post_init__(self) -> None:
        if not self.folds:
            raise InputError("no folds")
        kinds = [{name: set(arms) for name, arms in fold.items()} for fold in self.folds]
        if any(kind != kinds[0] for kind in kinds):
            raise InputError("folds with different sites or arms")

    @property
    def summary(self) -> dict[str, dict[str, ArmSummary]]:
        """Scores over folds, by site (or kind of image) and arm."""
        return summarize_folds(self.folds)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON has it, with the summary for its reader."""
        rows = {name: {arm: row.to_json() for arm, row in arms.items()} for name, arms in self.summary.items()}
        return {**super().to_json(), "summary": rows}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunMetrics(_Results):
    """The results of a run.

    Attributes:
      facts: what ran.
      folds: each fold's scores, by site and arm.
      stages: the records of finished stages, by fold and stage.
    """

    facts: RunFacts
    stages: StageRecords = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        labelled = self.facts.labelled
        unknown = sorted(set(self.folds[0]) - set(labelled)) if isinstance(labelled, Mapping) else []
        if unknown:
            raise InputError(f"no facts.labelled.{unknown[0]}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VisitMetrics(_Results):
    """Scores of a hospital's networks on another hospital's patients.

    Attributes:
      facts: whose patients were looked at where.
      folds: each fold's scores, by kind of image (`RENDERED`, `AS_SCANNED`) and arm.
    """

    facts: VisitFacts

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.folds[0]) != {RENDERED, AS_SCANNED}:
            raise InputError(f"images {', '.join(self.folds[0])}, not {RENDERED}, {AS_SCANNED}")


def read_metrics(path: str | os.PathLike) -> RunMetrics | VisitMetrics:
    """Return the results that a metrics.json holds, which say themselves of what they are.

    Raises:
      InputError: see `read_record`.
    """
    values = read_object(path, remedy=_REMEDY)
    facts = values.get("facts")
    is_visit = isinstance(facts, dict) and facts.get("experiment") == VISIT
    kind: type[RunMetrics] | type[VisitMetrics] = VisitMetrics if is_visit else RunMetrics
    return parse_record(values, kind, subject=pathlib.Path(path))
