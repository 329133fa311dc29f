"""Reads and prepares every volume of a data set, before any run needs it."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit
from fedsim_tf.errors import Refusals
from fedsim_tf.runs.inputs import open_cohort, prepared_folder
from fedsim_tf.training.volumes import prepare_cases, scale_to_given, warn_of_implausible


def prepare_dataset(config: Config, *, cache_dir: pathlib.Path, refusals: Refusals) -> list[PreparedCase]:
    """Prepares all cases of `config.dataset`, so that every file is checked and folds find it prepared.

    A file that cannot be used does not stop the others from being looked at.

    Args:
      config: which data set, size and window.
      cache_dir: where prepared volumes are kept.
      refusals: takes what cannot be used.

    Returns:
      The other cases, in order of identity.

    Raises:
      InputError: no such data set, or files that lack another.
    """
    cohort = open_cohort(config, config.dataset, cache_dir=cache_dir)
    kept = prepared_folder(cache_dir)
    cases = prepare_cases(cohort, cohort.identities, config, cache_dir=kept, refused=refusals.add)
    annotated = [case for case in cases if case.label is not None]
    if annotated:
        warn_of_implausible(cohort.name, cases, annotated, config, in_files_mm=_usual_mm(annotated))
    return cases


def cohort_summary(cases: Sequence[PreparedCase], config: Config) -> str:
    """Lines of what a data set's volumes are like, least, median and most: a slip in a header stands out.

    Where `config` gives extents, lengths are in those.
    """
    annotated = [case for case in cases if case.label is not None]
    scale = scale_to_given(config, _usual_mm(annotated)) if annotated else np.ones(3)
    extents_mm = np.array([case.field_of_view_mm for case in cases]).reshape(-1, 3) * scale
    rows = {
        **{f"field of view {axis}, mm": extents_mm[:, k].tolist() for k, axis in enumerate("xyz")},
        "mean CT value, HU": [float(hu_from_unit(case.image, case.window_hu).mean()) for case in cases],
        "heart, ml": [_heart_ml(case) * float(np.prod(scale)) for case in annotated],
    }
    return "\n".join(
        f"  {name:<22}" + "".join(f"{value:>9.0f}" for value in np.percentile(values, (0, 50, 100)))
        for name, values in rows.items()
        if values
    )


def _usual_mm(annotated: Sequence[PreparedCase]) -> np.ndarray:
    return np.median([case.field_of_view_mm for case in annotated], axis=0)


def _heart_ml(case: PreparedCase) -> float:
    assert case.label is not None  # noqa: S101
    return float(np.count_nonzero(case.label)) * float(np.prod(case.geometry.spacing_mm)) / 1000.0
