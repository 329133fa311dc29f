"""Reads and prepares every volume of a data set, before any run needs it."""

from __future__ import annotations

import pathlib

from fedsim_tf.config import Config
from fedsim_tf.data import prepare_cohort
from fedsim_tf.jobs.inputs import open_cohort
from fedsim_tf.progress import progress_bar


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
    with progress_bar(len(cohort.identities), f"volumes of {cohort.name}") as bar:
        prepare_cohort(
            cohort,
            cohort.identities,
            config.model.size,
            window_hu=config.data.window_hu,
            cache_dir=cache_dir / "prepared",
            progress=lambda *_: bar.update(),
        )
    return len(cohort.identities)
