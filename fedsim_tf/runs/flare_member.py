"""The local file of a federation's member, which says where its data and runs are and never leaves its FLARE kit."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from absl import logging

from fedsim_tf.config import VGG_WORDS, Config, FederatedConfig, from_kept, is_path, make_config, merge
from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.kits import has_key
from fedsim_tf.files import read_json
from fedsim_tf.runs.inputs import settle_choices
from fedsim_tf.runs.job_limits import LIMITS_FILE, USUAL_LIMITS, JobLimits, change_least_noise, read_limits

LEAST_LATENTS = FederatedConfig().latents_of
LOCAL_FILE = "fedsim_tf.json"
_FORMER_NOISE = "least_noise"  # in files of before, beside the line in the limits
UNPROTECTED = (
    "without noise the server can read the latents of a round's patients from the gradients, and from these latents "
    "each one's label and a coarse CT (docs/federated.md)"
)
# Fields of the configuration that each member has its own values for. A job is sent without them.
LOCAL_FIELDS = {
    "data_root": ("data", "root"),
    "data_division": ("data", "division"),
    "data_label_values": ("data", "label_values"),
    "data_field_of_view_mm": ("data", "field_of_view_mm"),
    "data_field_of_view_z_mm": ("data", "field_of_view_z_mm"),
    "data_phantom_shapes": ("data", "phantom_shapes"),
    "model_shape_model": ("model", "shape_model"),
    "model_vgg_weights": ("model", "vgg_weights"),
}


@dataclasses.dataclass(frozen=True)
class Local:
    """The contents of a member's local file, which `experiments.federated_member` writes.

    Attributes:
      runs_dir: folder of all runs.
      cache_dir: where prepared volumes are kept.
      dataset: name of the site's data set; "": the site's name.
      least_latents: the least `latents_of` with which a job is accepted.
      most_epsilon: the largest epsilon for what all runs below `runs_dir` send together; 0: no limit.
      secret: a secret on which the site's random choices depend; see `SiteVolumes`.
      fields: values of `LOCAL_FIELDS`, by their names there.
      limits: what jobs may ask for, the least noise among it, from a file of its own.

    Raises:
      InputError: `most_epsilon` is not finite.
    """

    runs_dir: str
    cache_dir: str
    dataset: str = ""
    least_latents: int = LEAST_LATENTS
    most_epsilon: float = 0.0
    secret: str = ""
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    limits: JobLimits = USUAL_LIMITS

    def __post_init__(self):
        if not (isinstance(self.most_epsilon, int | float) and math.isfinite(self.most_epsilon)):
            raise InputError("most_epsilon", found=self.most_epsilon, expected="a finite number")

    @classmethod
    def read(cls, folder: pathlib.Path) -> Local:
        """Read the local file, and the limits, in a folder, which is `local` of a FLARE kit.

        Raises:
          InputError: there is no such file, or one of the two has other contents.
        """
        file = folder / LOCAL_FILE
        if not file.exists():
            raise InputError(file, found="nothing", expected="what python -m experiments.federated_member writes")
        values = read_json(file)
        if not isinstance(values, dict):
            raise InputError(file, found=type(values).__name__, expected="names and values in {}")
        known = tuple(field.name for field in dataclasses.fields(cls) if field.name not in ("fields", "limits"))
        limits = _raise_least_noise(read_limits(folder), values.pop(_FORMER_NOISE, 0.0))
        unknown = sorted(set(values) - {*known, *LOCAL_FIELDS})
        missing = sorted({"runs_dir", "cache_dir"} - set(values))
        if unknown or missing:
            found, names = repr(unknown[0]) if unknown else f"no {missing[0]!r}", (*known, *LOCAL_FIELDS)
            raise InputError(file, found=found, expected=f"runs_dir, cache_dir and others of {', '.join(names)}")
        if "secret" not in values:
            logging.warning("%s has no secret; experiments.federated_member adds one", file)
        given = {name: values[name] for name in known if name in values}
        fields = {name: values[name] for name in LOCAL_FIELDS if name in values}
        return cls(**given, fields=fields, limits=limits)

    def to_dict(self) -> dict[str, Any]:
        """Return the contents of the file."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields = values.pop("fields")
        del values["limits"]
        return {name: value for name, value in values.items() if value != "" or name == "secret"} | fields

    def run_path(self, name: str) -> pathlib.Path:
        """Return the folder of a run, whose name comes from outside.

        Raises:
          InputError: the name could be a path to somewhere else.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            expected = "a name of A-Z, a-z, 0-9, _, - and ., with no - or . at its beginning"
            raise InputError("run", found=repr(name), expected=expected)
        return pathlib.Path(self.runs_dir) / name

    @property
    def granted_privacy(self) -> str:
        """The privacy that every job leaves to this site, in words."""
        epsilon = f"epsilon {self.most_epsilon:g} at most" if self.most_epsilon else "any epsilon"
        noise = f"noise {self.limits.least_noise_multiplier:g} or more"
        hidden = ", encrypted alone" if self.limits.only_encrypted else ""
        return f"moments of {self.least_latents} latents or more, {noise}, {epsilon}{hidden}"

    def apply(self, values: dict[str, Any]) -> Config:
        """Return a job's configuration with this machine's own fields in the place of any other machine's."""
        values = _without_local(values)
        for name, value in self.fields.items():
            section, field = LOCAL_FIELDS[name]
            values = merge(values, {section: {field: value}})
        return settle_choices(from_kept(values))

    def grant(self, values: dict[str, Any]) -> Config:
        """Return what `apply` does, at a site that accepts the job; its `limits` are checked apart.

        Raises:
          InputError: the job wants moments of fewer latents than this site gives.
        """
        config = self.apply(values)
        if (found := config.federated.latents_of) < self.least_latents:
            expected = f"at least {self.least_latents} at this site"
            raise InputError("the job's latents_of", found=found, expected=expected)
        return config


def _raise_least_noise(limits: JobLimits, least: float) -> JobLimits:
    """Return limits with at least the noise that a local file of before demands beside them."""
    satisfied = isinstance(least, int | float) and least <= limits.least_noise_multiplier  # NaN never is
    return limits if satisfied else change_least_noise(limits, least)


def change_local(
    folder: pathlib.Path, fields: Mapping[str, Any], *, least_noise: float | None = None, **given: Any
) -> Local:
    """Return the contents of a member's local file with other values; the file itself is not written.

    A site whose kit has a key of encryption and no file of limits yet lets nothing leave but encrypted.

    Args:
      folder: folder of the file; where it has none yet, a new secret is made.
      fields: new values of `LOCAL_FIELDS`, by their names there.
      least_noise: the new least noise of the limits; None: as before.
      given: new values of `Local`'s other attributes; None: as before.
    """
    before = Local.read(folder) if (folder / LOCAL_FILE).exists() else Local("", "", limits=read_limits(folder))
    if has_key(folder.parent) and not (folder / LIMITS_FILE).exists():
        before = dataclasses.replace(before, limits=before.limits.model_copy(update={"only_encrypted": True}))
    told = {name: value for name, value in given.items() if value is not None}
    if least_noise is not None:
        told["limits"] = change_least_noise(before.limits, float(least_noise))
    secret = before.secret or secrets.token_hex(16)
    return dataclasses.replace(before, **told, secret=secret, fields={**before.fields, **resolve_paths(fields)})


def select_local_fields(config: Config) -> dict[str, Any]:
    """Return a configuration's values of `LOCAL_FIELDS`."""
    values = config.to_dict()
    return {name: values[section][field] for name, (section, field) in LOCAL_FIELDS.items()}


def resolve_paths(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of `LOCAL_FIELDS` with absolute paths, so that they hold in any working folder."""
    return {
        name: str(pathlib.Path(value).resolve()) if is_path(*LOCAL_FIELDS[name], value) else value
        for name, value in fields.items()
    }


def strip_local_fields(config: Config) -> dict[str, Any]:
    """Return a configuration as a job brings it, in which `LOCAL_FIELDS` have the preset's values."""
    return _without_local(config.to_dict())


def _without_local(values: dict[str, Any]) -> dict[str, Any]:
    usual = make_config(values["preset"]).to_dict()
    for section, field in LOCAL_FIELDS.values():
        if values[section].get(field) not in VGG_WORDS:  # those mean the same on every machine
            values = merge(values, {section: {field: usual[section][field]}})
    return values
