"""Reads and prepares every volume of a data set, before any run needs it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from fedsim_tf.config import Config
from fedsim_tf.data import PreparedCase, hu_from_unit
from fedsim_tf.errors import InputError
from fedsim_tf.jobs.inputs import open_cohort, prepared_folder
from fedsim_tf.training.volumes import prepare_cases


def prepare_dataset(config: Config, *, cache_dir: pathlib.Path) -> list[PreparedCase]:
    """Prepares all cases of `config.dataset`, so that every file is checked and folds find it prepared.

    A file that cannot be used does not stop the others from being looked at: each is named in the log.

    Args:
      config: which data set, size and window.
      cache_dir: where prepared volumes are kept.

    Returns:
      The cases, in order of identity.

    Raises:
      InputError: says how many cannot be used, and the first one's reason.
    """
    cohort = open_cohort(config, config.dataset, cache_dir=cache_dir)
    errors: list[InputError] = []

    def refused(error: InputError) -> None:
        logging.error("%s", error)
        errors.append(error)

    kept = prepared_folder(cache_dir)
    cases = prepare_cases(cohort, cohort.identities, config, cache_dir=kept, refused=refused)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputError(
            cohort.name, found=f"{len(errors)} cases that cannot be used", expected=f"none; the first: {errors[0]}"
        )
    return cases


def summary(cases: Sequence[PreparedCase]) -> str:
    """Lines of what a data set's volumes are like, least, median and most: a slip in a header stands out."""
    rows = {
        "field of view x, mm": [case.field_of_view_mm[0] for case in cases],
        "field of view y, mm": [case.field_of_view_mm[1] for case in cases],
        "field of view z, mm": [case.field_of_view_mm[2] for case in cases],
        "mean CT value, HU": [float(hu_from_unit(case.image, case.window_hu).mean()) for case in cases],
        "heart, ml": [_heart_ml(case) for case in cases if case.label is not None],
    }
    return "\n".join(
        f"  {name:<22}" + "".join(f"{value:>9.0f}" for value in np.percentile(values, (0, 50, 100)))
        for name, values in rows.items()
        if values
    )


def _heart_ml(case: PreparedCase) -> float:
    assert case.label is not None  # noqa: S101
    return float(np.count_nonzero(case.label)) * float(np.prod(case.geometry.spacing_mm)) / 1000.0
