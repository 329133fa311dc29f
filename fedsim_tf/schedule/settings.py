"""The configuration that all starts of a schedule have in common, on whichever machine they are."""

from __future__ import annotations

import dataclasses
import pathlib

from fedsim_tf.config import Config
from fedsim_tf.files import read_json
from fedsim_tf.runs.inputs import settle_choices
from fedsim_tf.training.run import CONFIG, keep_config, refuse_other_config


def settle_config(config: Config, folder: pathlib.Path) -> Config:
    """Return a schedule's configuration with those choices of the machine that the first start's machine made.

    Args:
      config: the configuration that is asked for.
      folder: the plan's own.

    Raises:
      InputError: the folder's plan has another configuration.
    """
    file = folder / CONFIG
    if file.exists() and config.model.precision == "auto":
        precision = read_json(file)["model"]["precision"]
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, precision=precision))
    config = settle_choices(config)
    refuse_other_config(file, config, folder="schedule folder")
    return config


def keep_settings(config: Config, folder: pathlib.Path) -> None:
    """Keep a settled configuration for later starts."""
    keep_config(folder / CONFIG, config)
