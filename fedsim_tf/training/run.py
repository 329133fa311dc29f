"""The folder of a run: configuration, log, checkpoints, losses, pictures and results."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from absl import logging

from fedsim_tf.arms import ARMS
from fedsim_tf.config import Config, comparable_settings, from_kept
from fedsim_tf.errors import InputError
from fedsim_tf.files import is_partial, list_whole_files, read_json, write_json

CONFIG, METRICS, SITES = "config.json", "metrics.json", "sites"
CHECKPOINTS_KEPT = 2  # of each stage


class RunFolder:
    """The folder of a new run, or of an earlier one with the same configuration.

    Args:
      path: the folder; made if need be.
      config: what the run does.
      after_stage: is called after each stage that is finished here or in a fold's or a site's folder of this one.

    Raises:
      InputError: the folder holds other files, or a run with another configuration; the message shows the difference.
    """

    def __init__(self, path: str | os.PathLike, config: Config, *, after_stage: Callable[[], None] = lambda: None):
        self.path = pathlib.Path(path)
        self.config = config
        self._after_stage = after_stage
        self._claim()

    def _claim(self) -> None:
        check_run_folder(self.path, self.config)
        keep_config(self.path / CONFIG, self.config)

    @property
    def pictures(self) -> pathlib.Path:
        """The folder of pictures, which is made with the first of them."""
        return self.path / "pictures"

    @property
    def samples(self) -> pathlib.Path:
        """The folder of synthetic volumes, which is made with the first of them."""
        return self.path / "samples"

    def site(self, name: str) -> RunFolder:
        """Open the folder of one site of a federated run, in a process that has both."""
        return RunFolder(site_path(self.path, name), self.config, after_stage=self._after_stage)

    def fold(self, number: int) -> RunFolder:
        """Open the folder of one fold."""
        return RunFolder(fold_path(self.path, number), self.config.of_fold(number), after_stage=self._after_stage)

    def checkpoints(self, stage: str) -> pathlib.Path:
        """Return the folder of a stage's checkpoints."""
        return self.path / "checkpoints" / stage

    def losses(self, stage: str) -> pathlib.Path:
        """Return the path of the CSV with a stage's losses."""
        return self.path / "losses" / f"{stage}.csv"

    def tensorboard(self, stage: str) -> pathlib.Path:
        """Return the folder of a stage's logs for TensorBoard."""
        return self.path / "tensorboard" / stage

    def finished(self, stage: str) -> dict[str, Any] | None:
        """Return the record of a finished stage; None if it is not finished, or its record is damaged."""
        file = self._record_file(stage)
        try:
            return read_json(file) if file.exists() else None
        except ValueError:
            logging.warning("%s is damaged; it is written again", file)
            return None

    def finish(self, stage: str, record: dict[str, Any]) -> None:
        """Write the record of a stage, which marks it as done for good."""
        write_json(self._record_file(stage), record)
        logging.info("%s: done", stage)
        self._after_stage()

    def begun_after(self, stage: str) -> list[str]:
        """Return the names of other stages that have kept a checkpoint since a finished one ended."""
        since, root = self._record_file(stage).stat().st_mtime_ns, self.path / "checkpoints"
        later = [state.parent for state in root.rglob("step-*") if state.stat().st_mtime_ns > since]
        return sorted({str(folder.relative_to(root)) for folder in later} - {stage})

    def records(self) -> dict[str, Any]:
        """Return the records of all finished stages by name; those of a site are called `sites/<site>/<stage>`."""
        root = self.path / "stages"
        found = {
            str(file.relative_to(root).with_suffix("")): read_json(file) for file in list_whole_files(root, "*.json")
        }
        for folder in sorted(self.path.glob(f"{SITES}/*")):
            site = RunFolder(folder, self.config).records()
            found |= {f"{SITES}/{folder.name}/{stage}": record for stage, record in site.items()}
        return found

    def _record_file(self, stage: str) -> pathlib.Path:
        return self.path / "stages" / f"{stage}.json"


def check_run_folder(path: pathlib.Path, config: Config) -> None:
    """Refuse a folder in which a run of this configuration can neither begin nor go on. Nothing is written.

    Raises:
      InputError: a file, a folder that holds something else, a folder that cannot be written, or a run of another
        configuration; the message shows the difference.
    """
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise InputError(existing, found="a file", expected="a folder, which the run makes if need be")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(existing, found="a folder that this user cannot write to", expected="another run folder")
    file = path / CONFIG
    if not file.exists() and _has_foreign_files(path) and not file.exists():  # another process may begin it now
        raise InputError(path, found="a folder that is no run", expected="an empty or new folder")
    refuse_other_config(file, config, folder="run folder")


def _has_foreign_files(path: pathlib.Path) -> bool:
    # The server of a federation may have begun its folds before a site on its machine claims the whole run.
    is_ours = lambda file: is_partial(file) or re.fullmatch(r"fold_\d+", file.name)  # noqa: E731
    return path.is_dir() and not all(map(is_ours, path.iterdir()))


def fold_numbers(config: Config, only: int | None) -> Sequence[int]:
    """Return the numbers of a run's folds, or the only one of them that was asked for.

    Raises:
      InputError: no such fold.
    """
    count = config.data.folds
    if only is not None and not 0 <= only < count:
        raise InputError("only_fold", value=only, must=f"be {f'0 to {count - 1}' if count > 1 else 0}")
    return range(count) if only is None else [only]


def reopen_run(path: pathlib.Path) -> RunFolder:
    """Open an earlier run's folder with the configuration that it was begun with."""
    return RunFolder(path, from_kept(read_json(path / CONFIG)))


def refuse_other_config(file: pathlib.Path, config: Config, *, folder: str) -> None:
    """Refuse a configuration that differs from the one in a file, if there is one, in more than what may change.

    Args:
      file: where `keep_config` has written a configuration.
      config: the one to go on with.
      folder: what the message calls the file's folder.

    Raises:
      InputError: they differ; the message shows the difference.
    """
    if file.exists():
        difference = _difference(_settings_used(_fill(read_json(file))), _settings_used(_to_json_values(config)))
        if difference:
            expected = f"the same configuration, or another {folder}"
            raise InputError(file, found=f"a run with {difference}", expected=expected)


def keep_config(file: pathlib.Path, config: Config) -> None:
    """Write a configuration to a file that does not hold it yet."""
    wanted = _to_json_values(config)
    if not file.exists() or read_json(file) != wanted:
        write_json(file, wanted)


def fold_path(run: pathlib.Path, number: int) -> pathlib.Path:
    """Return the path of a fold's folder in a run."""
    return run / f"fold_{number}"


def is_federated(fold: pathlib.Path) -> bool:
    """Return whether a fold belongs to a federated run: its folder holds those of the sites."""
    return (fold / SITES).is_dir()


def list_site_paths(fold: pathlib.Path) -> list[pathlib.Path]:
    """Return the folders of the sites in a fold of a federated run, by name; none in another one."""
    return sorted((fold / SITES).iterdir()) if is_federated(fold) else []


def site_path(fold: pathlib.Path, name: str) -> pathlib.Path:
    """Return the path of a site's folder in a fold of a federated run."""
    return fold / SITES / name


def _to_json_values(config: Config) -> dict[str, Any]:
    """Return a configuration as JSON gives it back, with lists for tuples."""
    return json.loads(json.dumps(config.to_dict()))


def _fill(kept: dict[str, Any]) -> dict[str, Any]:
    """Return a kept configuration with fields that were added since, as what was done before."""
    try:
        return _to_json_values(from_kept(kept))
    except InputError:  # it has other fields altogether; the difference will say which
        return kept


def _settings_used(values: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same, less the settings of Ours-Plus where no arm takes part in it."""
    arms = values.get("segmentation", {}).get("arms", ())
    uses_plus = any("plus" in ARMS[arm].simulator for arm in arms if arm in ARMS)
    return {name: value for name, value in comparable_settings(values).items() if uses_plus or name != "plus"}


def _difference(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> str:
    """Return the fields that differ, as "section.name=old (now new)"."""
    found = []
    for key in sorted(set(old) | set(new)):
        was, now = old.get(key), new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            nested = _difference(was, now, f"{prefix}{key}.")
            found += [nested] if nested else []
        elif was != now:
            found.append(f"{prefix}{key}={_shown(was)} (now {_shown(now)})")
    return ", ".join(found)


def _shown(value: Any) -> str:
    """Return a value as the user gives it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    return "nothing" if value in ("", None) else str(value)
