"""Reads and prepares every volume of a data set, before any run needs it."""

from __future__ import annotations

import pathlib

from fedsim_tf.config import Config
from fedsim_tf.jobs.inputs import open_cohort, prepared_folder
from fedsim_tf.training.volumes import prepare_cases


def prepare_dataset(config: Config, *, cache_dir: pathlib.Path) -> int:
    """Prepares all cases of `config.dataset`, so that every file is checked and folds find it prepared.

    Args:
      config: which data set, size and window.
      cache_dir: where prepared volumes are kept.

    Returns:
      How many cases there are.

    Raises:
      InputError: names the first file that cannot be used.
    """
    cohort = open_cohort(config, config.dataset, cache_dir=cache_dir)
    return len(prepare_cases(cohort, cohort.identities, config, cache_dir=prepared_folder(cache_dir)))
