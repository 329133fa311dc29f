"""What a member of a federation keeps to itself: where its data and runs are, in a file of its FLARE kit."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from typing import Any

from fedsim_tf.config import Config, from_dict, make_config, merge
from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.jobs import write_local_files
from fedsim_tf.files import read_json
from fedsim_tf.jobs.inputs import open_cohort, source
from fedsim_tf.models.precision import with_resolved_precision

VGG_WORDS = ("imagenet", "random")
LOCAL_FILE = "fedsim_tf.json"
# Fields of the configuration that are each hospital's own; those of the one who submits a job are not sent with it.
LOCAL_FIELDS = {
    "data_root": ("data", "root"),
    "data_division": ("data", "division"),
    "data_field_of_view_mm": ("data", "field_of_view_mm"),
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
      fields: of `LOCAL_FIELDS`.
    """

    runs_dir: str
    cache_dir: str
    dataset: str = ""
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)

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
        known = ("runs_dir", "cache_dir", "dataset")
        unknown = sorted(set(values) - {*known, *LOCAL_FIELDS})
        missing = sorted({"runs_dir", "cache_dir"} - set(values))
        if unknown or missing:
            found = f"{unknown[0]!r}" if unknown else f"no {missing[0]!r}"
            raise InputError(file, found=found, expected=f"of {', '.join((*known, *LOCAL_FIELDS))}")
        given = {name: values[name] for name in known if name in values}
        return cls(**given, fields={name: values[name] for name in LOCAL_FIELDS if name in values})

    def to_dict(self) -> dict[str, Any]:
        """As in the file."""
        named = {"runs_dir": self.runs_dir, "cache_dir": self.cache_dir, "dataset": self.dataset}
        return {name: value for name, value in named.items() if value} | self.fields

    def run_path(self, name: str) -> pathlib.Path:
        """The folder of a run of that name, which comes from outside.

        Raises:
          InputError: a name that is more than a name.
        """
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
            raise InputError("run", found=repr(name), expected="a name of letters, digits, _, - and .")
        return pathlib.Path(self.runs_dir) / name

    def applied(self, values: dict[str, Any]) -> Config:
        """A job's configuration with this machine's own fields."""
        for name, value in self.fields.items():
            section, field = LOCAL_FIELDS[name]
            values = merge(values, {section: {field: value}})
        return with_resolved_precision(from_dict(values))


def local_fields(config: Config) -> dict[str, Any]:
    """Those of `LOCAL_FIELDS` that a configuration has."""
    values = config.to_dict()
    return {name: values[section][field] for name, (section, field) in LOCAL_FIELDS.items()}


def travelling(config: Config) -> dict[str, Any]:
    """A configuration as a job brings it: fields that are some machine's own are as the preset has them."""
    values, usual = config.to_dict(), make_config(config.preset).to_dict()
    for section, field in LOCAL_FIELDS.values():
        if values[section][field] not in VGG_WORDS:  # those mean the same on every machine
            values[section][field] = usual[section][field]
    return values


def set_up_member(kit: pathlib.Path, local: Local, *, check: str | None) -> str:
    """Writes a member's local files into its kit.

    Args:
      kit: the folder that `nvflare provision` made for the server or a site.
      local: what only this machine knows.
      check: the site whose data has to be there; None for the server, which has none.

    Returns:
      What was found, in a few words.

    Raises:
      InputError: no such kit, or data that is not there.
    """
    startup = kit / "startup"
    if not any((startup / name).is_file() for name in ("fed_client.json", "fed_server.json")):
        raise InputError("--kit", found=str(kit), expected="the folder of a server's or a site's kit")
    found = "no data, as a server has none"
    if check is not None:
        config = local.applied(make_config("demo").to_dict())
        cohort = open_cohort(config, local.dataset or check, cache_dir=pathlib.Path(local.cache_dir))
        found = f"{source(config, local.dataset or check)}: {len(cohort.annotated)} of {len(cohort.files)} annotated"
    write_local_files(kit / "local", LOCAL_FILE, local.to_dict())
    return found
