"""The limits that a site's owner sets on what jobs may ask for, in a file of the site's own."""

from __future__ import annotations

import json
import pathlib
import re
import sys
from typing import Annotated, Any, Literal, NoReturn, get_args

import pydantic

from fedsim_tf.arms import simulate_together
from fedsim_tf.config import N_FOLDS, Config
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_text
from fedsim_tf.records.versioned import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LIMITS_FILE = "limits.toml"
_Stage = Literal["pretraining", "semi_supervised", "segmentation/direct_fl/pretrain"]
_Positive = Annotated[int, pydantic.Field(ge=1)]
_LEAST_NOISE = re.compile(r"""^([ \t]*(["']?)least_noise_multiplier\2[ \t]*=[ \t]*)[^\s#]+""", re.MULTILINE)
_Noise = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]


class JobLimits(pydantic.BaseModel):
    """The limits of a site; what its file leaves out has the value here.

    Attributes:
      least_batch: the fewest annotated volumes of which a round of the simulation gives a gradient.
      least_unannotated_batch: the fewest unannotated volumes of which a round gives a gradient (paper: 1).
      largest_coarse_size: the most voxels along each edge of the material map that sites learn together (paper: 16).
      largest_size: the most voxels along each edge of volumes (paper: 128).
      least_noise_multiplier: the least `noise_multiplier`: noise on gradients and on moments of latents, in units of
        their bounds, and ten times that on losses.
      only_encrypted: whether gradients and moments leave only where the server cannot read them.
      stages: the shared stages that a job may have. A round of Direct-FL's gives the gradient of one volume.
      most_rounds: how many rounds all jobs may have together; None: any number.
      folds: numbers of the folds that a job may have.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)

    least_batch: _Positive = 2
    least_unannotated_batch: _Positive = 1
    largest_coarse_size: _Positive = 16
    largest_size: _Positive = 128
    least_noise_multiplier: _Noise = 0.0
    only_encrypted: bool = False
    stages: list[_Stage] = list(get_args(_Stage))
    most_rounds: _Positive | None = None
    folds: list[Annotated[int, pydantic.Field(ge=0, lt=N_FOLDS)]] = list(range(N_FOLDS))

    def check(self, config: Config, *, fold: int, labels: int) -> None:
        """Refuse a job that asks for more than the limits, apart from its number of rounds.

        Args:
          config: the job's configuration.
          fold: number of its fold.
          labels: how many annotated training volumes it takes of this site.

        Raises:
          InputError: the message names the limit.
        """
        from fedsim_tf.runs.stage_plan import plan_stages  # here, as it imports TensorFlow

        federated, model = config.federated, config.model
        if simulate_together(config.segmentation.arms):
            _refuse_below("least_batch", min(config.pretraining.batch, labels), self.least_batch)
        self.check_unannotated(config, config.semi.batch)  # at best; how many there are is known later
        _refuse_above("largest_coarse_size", model.coarse_size, self.largest_coarse_size)
        _refuse_above("largest_size", model.size, self.largest_size)
        _refuse_below("least_noise_multiplier", federated.noise_multiplier, self.least_noise_multiplier)
        if self.only_encrypted and not federated.encrypt:
            _refuse("only_encrypted", federated.encrypt, "True")
        for stage in plan_stages(config):
            if stage not in self.stages:
                _refuse("stages", stage, f"one of {', '.join(self.stages) or 'none'}")
        if fold not in self.folds:
            _refuse("folds", fold, f"one of {', '.join(map(str, self.folds)) or 'none'}")

    def check_unannotated(self, config: Config, count: int) -> None:
        """Refuse a fold with so few unannotated volumes that its rounds would be of fewer than the limit.

        Args:
          config: the job's configuration.
          count: how many unannotated training volumes the site has in the fold. Of none no round gives a gradient.

        Raises:
          InputError: the message names the limit.
        """
        simulates = simulate_together(config.segmentation.arms)
        if count and simulates and config.semi.learns_unannotated:
            _refuse_below("least_unannotated_batch", min(config.semi.batch, count), self.least_unannotated_batch)

    def check_rounds(self, config: Config, *, runs: pathlib.Path, fold: pathlib.Path) -> None:
        """Refuse a job whose rounds would be too many beside those of all others.

        Args:
          config: the job's configuration.
          runs: folder of all runs of the site.
          fold: the site's folder of the job's fold; the rounds that it has had are among the job's own.

        Raises:
          InputError: the message names the limit.
        """
        if self.most_rounds is None:
            return
        from fedsim_tf.federated.privacy_account import list_rounds_sent  # here, as they import TensorFlow
        from fedsim_tf.federated.wire_record import SENT
        from fedsim_tf.runs.stage_plan import plan_stages

        planned = sum(stage.steps for stage in plan_stages(config).values())
        others = {file.parent.resolve() for file in runs.rglob(f"{SENT}.csv")} - {fold.resolve()}
        before = sum(len(set(list_rounds_sent(folder))) for folder in others)
        if before + planned > self.most_rounds:
            found = f"{planned} after {before} of other jobs"
            _refuse("most_rounds", found, f"at most {self.most_rounds} together")

    def describe(self) -> str:
        """Return the limits in a few words."""
        rounds = "any number of rounds" if self.most_rounds is None else f"{self.most_rounds} rounds at most"
        return (
            f"batches of {self.least_batch} or more, coarse CTs of {self.largest_coarse_size} and volumes of "
            f"{self.largest_size} voxels at most along each edge, {rounds}"
        )


USUAL_LIMITS = JobLimits()
UNLIMITED = JobLimits(least_batch=1, largest_coarse_size=2**16, largest_size=2**16)
_EXPLAINED = {
    "least_batch": "annotated volumes of which a round of the simulation gives a gradient",
    "least_unannotated_batch": "unannotated volumes of which a round gives a gradient",
    "largest_coarse_size": "voxels along each edge of the material map that sites learn together",
    "largest_size": "voxels along each edge of volumes",
    "least_noise_multiplier": "noise on gradients, moments and losses; --least_noise changes this line",
    "only_encrypted": "true: gradients and moments leave only where the server cannot read them",
    "stages": "shared stages; a round of segmentation/direct_fl/pretrain gives the gradient of one volume",
    "folds": "folds of the cross-validation",
    "most_rounds": "rounds of all jobs together; without this line any number",
}


def read_limits(folder: pathlib.Path) -> JobLimits:
    """Read the limits of a site from the folder `local` of its kit; those of `JobLimits` where there is no file.

    Raises:
      InputError: the file is no TOML, or a name or a value in it is not what it can be.
    """
    file = folder / LIMITS_FILE
    if not file.exists():
        return USUAL_LIMITS
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(file, found=f"no TOML ({error})", expected="lines such as least_batch = 4") from None
    return _parse(values, subject=file)


def _parse(values: dict[str, Any], *, subject: object) -> JobLimits:
    names = ", ".join(JobLimits.model_fields)
    return parse(values, JobLimits, subject=subject, expected=f"limits among {names}, as in docs/federated.md")


def change_least_noise(limits: JobLimits, least: float) -> JobLimits:
    """Return limits with another least noise.

    Raises:
      InputError: it is not a number of at least 0.
    """
    return _parse({**limits.model_dump(), "least_noise_multiplier": least}, subject="least_noise")


def write_limits(folder: pathlib.Path, limits: JobLimits) -> None:
    """Write a file of limits with a word on each; in one that is there, only the line of the least noise may change.

    Raises:
      InputError: that line cannot be found in the file.
    """
    file = folder / LIMITS_FILE
    if file.exists():
        if read_limits(folder).least_noise_multiplier != limits.least_noise_multiplier:
            _rewrite_least_noise(file, limits.least_noise_multiplier)
        return
    lines = ["# What jobs may ask of this site; see docs/federated.md."]
    for name, text in _EXPLAINED.items():
        value = getattr(limits, name)
        shown = "# most_rounds = 10000" if value is None else f"{name} = {json.dumps(value)}"
        lines.append(f"{shown:<32} # {text}")
    write_text(file, "\n".join(lines) + "\n")


def _rewrite_least_noise(file: pathlib.Path, least: float) -> None:
    line, before = f"least_noise_multiplier = {least!r}", file.read_text(encoding="utf-8")
    after, found = _LEAST_NOISE.subn(rf"\g<1>{least!r}", before, count=1)
    after = after if found else f"{line}\n{before}"
    try:
        changed = tomllib.loads(after) == {**tomllib.loads(before), "least_noise_multiplier": least}
    except ValueError:
        changed = False
    if not changed:
        raise InputError(file, found="a least noise that this command cannot change", expected=f"the line {line}")
    write_text(file, after)


def _refuse_below(limit: str, found: float, least: float) -> None:
    if found < least:
        _refuse(limit, found, f"at least {least:g}")


def _refuse_above(limit: str, found: float, most: float) -> None:
    if found > most:
        _refuse(limit, found, f"at most {most:g}")


def _refuse(limit: str, found: object, expected: str) -> NoReturn:
    raise InputError(f"the job's {_OF_JOB[limit]}", found=found, expected=f"{expected}, {limit} in {LIMITS_FILE}")


_OF_JOB = {
    "least_batch": "annotated volumes a round",
    "least_unannotated_batch": "unannotated volumes a round",
    "largest_coarse_size": "model.coarse_size",
    "largest_size": "model.size",
    "least_noise_multiplier": "federated.noise_multiplier",
    "only_encrypted": "federated.encrypt",
    "stages": "stage",
    "folds": "fold",
    "most_rounds": "rounds",
}
