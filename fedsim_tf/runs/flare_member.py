"""What a member of a federation keeps to itself: where its data and runs are, in a file of its FLARE kit."""

from __future__ import annotations

import dataclasses
import math
import pathlib
import re
import secrets
from collections.abc import Mapping
from typing import Any

from absl import logging

from fedsim_tf.config import VGG_WORDS, Config, FederatedConfig, from_dict, is_path, make_config, merge
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json
from fedsim_tf.runs.inputs import settle_choices

LEAST_LATENTS = FederatedConfig().latents_of
LOCAL_FILE = "fedsim_tf.json"
# Fields of the configuration that are each hospital's own; those of the one who submits a job are not sent with it.
LOCAL_FIELDS = {
    "data_root": ("data", "root"),
    "data_division": ("data", "division"),
    "data_field_of_view_mm": ("data", "field_of_view_mm"),
    "data_field_of_view_z_mm": ("data", "field_of_view_z_mm"),
    "data_phantom_shapes": ("data", "phantom_shapes"),
    "model_shape_model": ("model", "shape_model"),
    "model_vgg_weights": ("model", "vgg_weights"),
}


@dataclasses.dataclass(frozen=True)
class Local:
    """What only this machine knows; its file is written by `experiments.federated_member`.

    Attributes:
      runs_dir: folder of all runs.
      cache_dir: where prepared volumes are kept.
      dataset: which of the data sets a site has, "" where that is the site's name.
      least_latents, least_noise: what a job's `latents_of` and `noise_multiplier` have to be at this site.
      most_epsilon: what the gradients of all runs below `runs_dir` may amount to together; 0: anything.
      secret: goes into the site's random choices; see `SiteVolumes`.
      fields: of `LOCAL_FIELDS`.
    """

    runs_dir: str
    cache_dir: str
    dataset: str = ""
    least_latents: int = LEAST_LATENTS
    least_noise: float = 0.0
    most_epsilon: float = 0.0
    secret: str = ""
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name in ("least_noise", "most_epsilon"):
            if not (isinstance(getattr(self, name), int | float) and math.isfinite(getattr(self, name))):
                raise InputError(name, found=getattr(self, name), expected="a finite number")

    @classmethod
    def read(cls, folder: pathlib.Path) -> Local:
        """From the folder of a FLARE kit's local files.

        Raises:
          InputError: no such file, or one with other contents.
        """
        file = folder / LOCAL_FILE
        if not file.exists():
            raise InputError(file, found="nothing", expected="what python -m experiments.federated_member writes")
        values = read_json(file)
        known = tuple(field.name for field in dataclasses.fields(cls) if field.name != "fields")
        unknown = sorted(set(values) - {*known, *LOCAL_FIELDS})
        missing = sorted({"runs_dir", "cache_dir"} - set(values))
        if unknown or missing:
            found = f"{unknown[0]!r}" if unknown else f"no {missing[0]!r}"
            raise InputError(file, found=found, expected=f"of {', '.join((*known, *LOCAL_FIELDS))}")
        if "secret" not in values:
            logging.warning("%s has no secret: experiments.federated_member writes one", file)
        given = {name: values[name] for name in known if name in values}
        return cls(**given, fields={name: values[name] for name in LOCAL_FIELDS if name in values})

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        values = dataclasses.asdict(self)
        fields = values.pop("fields")
        return {name: value for name, value in values.items() if value != "" or name == "secret"} | fields

    def run_path(self, name: str) -> pathlib.Path:
        """The folder of a run of that name, which comes from outside.

        Raises:
          InputError: a name that is more than a name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise InputError("run", found=repr(name), expected="a name of letters, digits, _, - and .")
        return pathlib.Path(self.runs_dir) / name

    @property
    def grants(self) -> str:
        """The least privacy, in words."""
        epsilon = f"epsilon {self.most_epsilon:g} at most" if self.most_epsilon else "any epsilon"
        return f"moments of {self.least_latents} latents or more, noise {self.least_noise:g} or more, {epsilon}"

    def applied(self, values: dict[str, Any]) -> Config:
        """A job's configuration with this machine's own fields, and none of another's."""
        values = _without_local(values)
        for name, value in self.fields.items():
            section, field = LOCAL_FIELDS[name]
            values = merge(values, {section: {field: value}})
        return settle_choices(from_dict(values))

    def granted(self, values: dict[str, Any]) -> Config:
        """As `applied`, at a site.

        Raises:
          InputError: the job asks for less privacy than this site grants.
        """
        config = self.applied(values)
        asked = config.federated
        for name, found, least in (
            ("latents_of", asked.latents_of, self.least_latents),
            ("noise_multiplier", asked.noise_multiplier, self.least_noise),
        ):
            if found < least:
                raise InputError(f"the job's {name}", found=found, expected=f"at least {least} at this site")
        return config


def changed(folder: pathlib.Path, fields: Mapping[str, Any], **given: Any) -> Local:
    """What a member's local file says, or a new one would, with other values.

    Args:
      folder: where it is, or will be.
      fields: of `LOCAL_FIELDS`.
      given: of `Local`'s other attributes; None: as before.
    """
    before = Local.read(folder) if (folder / LOCAL_FILE).exists() else Local("", "")
    told = {name: value for name, value in given.items() if value is not None}
    secret = before.secret or secrets.token_hex(16)
    return dataclasses.replace(before, **told, secret=secret, fields={**before.fields, **absolute_fields(fields)})


def local_fields(config: Config) -> dict[str, Any]:
    """Those of `LOCAL_FIELDS` that a configuration has."""
    values = config.to_dict()
    return {name: values[section][field] for name, (section, field) in LOCAL_FIELDS.items()}


def absolute_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `LOCAL_FIELDS` with paths that hold in whatever folder a process works."""
    return {
        name: str(pathlib.Path(value).resolve()) if is_path(*LOCAL_FIELDS[name], value) else value
        for name, value in fields.items()
    }


def travelling(config: Config) -> dict[str, Any]:
    """A configuration as a job brings it: fields that are some machine's own are as the preset has them."""
    return _without_local(config.to_dict())


def _without_local(values: dict[str, Any]) -> dict[str, Any]:
    usual = make_config(values["preset"]).to_dict()
    for section, field in LOCAL_FIELDS.values():
        if values[section].get(field) not in VGG_WORDS:  # those mean the same on every machine
            values = merge(values, {section: {field: usual[section][field]}})
    return values
