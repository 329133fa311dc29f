"""Preparation of every volume of a data set before any run needs it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit
from fedsim_tf.errors import Refusals
from fedsim_tf.phantom.sites import SITES
from fedsim_tf.runs.inputs import check_files, check_phantom_site, open_cohort, prepared_folder, settle_phantom_version
from fedsim_tf.training.volumes import prepare_cases, scale_to_given, warn_of_implausible
from fedsim_tf.volume import Geometry


@dataclasses.dataclass(frozen=True)
class PreparationStart:
    """A data set whose files were found. `open_preparation` makes it.

    Attributes:
      config: data set, size and window.
      cache_dir: where prepared volumes are kept.
      n_cases: how many scans the data set has.
      n_annotated: how many of them have labels.
    """

    config: Config
    cache_dir: pathlib.Path
    n_cases: int
    n_annotated: int


def open_preparation(config: Config, *, cache_dir: pathlib.Path) -> PreparationStart:
    """Find the files of `config.dataset`. No image is read and no phantom is made.

    Raises:
      InputError: no such data set, files that lack another, or a folder that is not there.
    """
    config = settle_phantom_version(config)
    check_files(config)
    if config.is_phantom:
        check_phantom_site(config.dataset)
        count = SITES[config.dataset].n_subjects
        return PreparationStart(config, cache_dir, count, count)
    cohort = open_cohort(config, config.dataset, cache_dir=cache_dir)
    return PreparationStart(config, cache_dir, len(cohort.files), len(cohort.annotated))


def prepare_dataset(start: PreparationStart, *, refusals: Refusals) -> list[PreparedCase]:
    """Prepare all cases of a data set, so that every file is checked and folds find it prepared.

    A file that cannot be used does not keep the others from being looked at.

    Args:
      start: the data set.
      refusals: takes the reason for each case that cannot be used.

    Returns:
      The other cases, in order of identity.
    """
    config = start.config
    cohort = open_cohort(config, config.dataset, cache_dir=start.cache_dir)
    kept = prepared_folder(start.cache_dir)
    cases = prepare_cases(cohort, cohort.identities, config, cache_dir=kept, refused=refusals.add)
    annotated = [case for case in cases if case.label is not None]
    if annotated:
        warn_of_implausible(cohort.name, cases, annotated, config, in_files_mm=_find_usual_mm(annotated))
    return cases


def cohort_summary(cases: Sequence[PreparedCase], config: Config) -> str:
    """Return lines that say the least, median and most of a data set's volumes: a slip in a header stands out.

    Where `config` gives extents, lengths and volumes follow those instead of the files.
    """
    annotated = [case for case in cases if case.label is not None]
    scale = scale_to_given(config, _find_usual_mm(annotated)) if annotated else np.ones(3)
    extents_mm = np.array([case.field_of_view_mm for case in cases]).reshape(-1, 3) * scale
    hearts = [(case.label, case.geometry) for case in cases if case.label is not None]
    rows = {
        **{f"field of view {axis}, mm": extents_mm[:, k].tolist() for k, axis in enumerate("xyz")},
        "mean CT value, HU": [float(hu_from_unit(case.image, case.window_hu).mean()) for case in cases],
        "heart, ml": [_measure_ml(label, geometry) * float(np.prod(scale)) for label, geometry in hearts],
    }
    return "\n".join(
        f"  {name:<22}" + "".join(f"{value:>9.0f}" for value in np.percentile(values, (0, 50, 100)))
        for name, values in rows.items()
        if values
    )


def _find_usual_mm(annotated: Sequence[PreparedCase]) -> np.ndarray:
    return np.median([case.field_of_view_mm for case in annotated], axis=0)


def _measure_ml(label: np.ndarray, geometry: Geometry) -> float:
    return float(np.count_nonzero(label)) * float(np.prod(geometry.spacing_mm)) / 1000.0
