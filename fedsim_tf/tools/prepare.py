"""Preparation of every volume of a data set before any run needs it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit
from fedsim_tf.errors import Refusals
from fedsim_tf.phantom.sites import SITES
from fedsim_tf.runs.inputs import check_files, check_phantom_site, open_cohort, prepared_folder, settle_phantom_version
from fedsim_tf.training.volumes import open_finder, prepare_cases, scale_to_given, warn_of_implausible


@dataclasses.dataclass(frozen=True)
class PreparationStart:
    """A data set whose files were found. `open_preparation` makes it.

    Attributes:
      config: data set, size and window.
      cache_dir: where prepared volumes are kept.
      n_cases: how many scans the data set has.
      n_annotated: how many of them have labels.
      cohort: the scans; None of a phantom site, which may have to be made first.
    """

    config: Config
    cache_dir: pathlib.Path
    n_cases: int
    n_annotated: int
    cohort: Cohort | None = None

    def open_cohort(self) -> Cohort:
        """Return the scans; phantoms are made if need be."""
        return self.cohort or open_cohort(self.config, self.config.dataset, cache_dir=self.cache_dir)


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
    return PreparationStart(config, cache_dir, len(cohort.files), len(cohort.annotated), cohort)


def prepare_dataset(start: PreparationStart, *, refusals: Refusals, compare_scans: bool = False) -> list[PreparedCase]:
    """Prepare all cases of a data set, so that every file is checked and folds find it prepared.

    A file that cannot be used does not keep the others from being looked at.

    Args:
      start: the data set.
      refusals: takes the reason for each case that cannot be used.
      compare_scans: whether to look for two scans of one person, which are warned of.

    Returns:
      The other cases, in order of identity.
    """
    config = start.config
    cohort = start.open_cohort()
    kept = prepared_folder(start.cache_dir)
    finder = open_finder(cohort, cohort.annotated, config, cache_dir=kept)
    cases = prepare_cases(cohort, cohort.identities, config, cache_dir=kept, finder=finder, refused=refusals.add)
    annotated = [case for case in cases if case.label is not None]
    if annotated:
        warn_of_implausible(cohort.name, cases, annotated, config, in_files_mm=_find_usual_mm(annotated))
    if compare_scans:
        from fedsim_tf.tools.two_scans import warn_of_two_scans

        warn_of_two_scans(cohort, cases)
    return cases


def write_page(
    start: PreparationStart,
    cases: Sequence[PreparedCase],
    folder: pathlib.Path,
    *,
    title: str,
    left_out: Sequence[str],
    remarks: Sequence[str],
) -> pathlib.Path:
    """Write a page that shows every volume, and its pictures; return where it is. Its owner alone can read the folder.

    Args:
      start: the data set.
      cases: its volumes that can be used, as `prepare_dataset` returns them.
      folder: where page and pictures go; it may be there already.
      title: the page's heading.
      left_out, remarks: see `write_volume_page`.
    """
    from fedsim_tf.evaluation.planes import draw_planes
    from fedsim_tf.evaluation.volume_page import describe_volume, write_volume_page

    cohort = start.open_cohort()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # patients' CTs
    (folder / "pictures").mkdir(exist_ok=True)
    rows = []
    for number, case in enumerate(cases):
        picture = f"pictures/{number:03d}.png"
        label, extent_mm = case.label, case.field_of_view_mm
        middle = np.array(case.image.shape) // 2 if label is None else np.argwhere(label).mean(axis=0).astype(int)
        draw_planes(folder / picture, case.image, label, middle.tolist(), extent_mm=extent_mm, title=case.identity)
        rows.append(describe_volume(case, patient=cohort.patient(case.identity), picture=picture))
    page = folder / "index.html"
    write_volume_page(page, title=title, rows=rows, left_out=left_out, remarks=remarks)
    return page


def cohort_summary(cases: Sequence[PreparedCase], config: Config) -> str:
    """Return lines that say the least, median and most of a data set's volumes: a slip in a header stands out.

    Where `config` gives extents, lengths and volumes follow those instead of the files.
    """
    annotated = [case for case in cases if case.label is not None]
    scale = scale_to_given(config, _find_usual_mm(annotated)) if annotated else np.ones(3)
    extents_mm = np.array([case.field_of_view_mm for case in cases]).reshape(-1, 3) * scale
    rows = {
        **{f"field of view {axis}, mm": extents_mm[:, k].tolist() for k, axis in enumerate("xyz")},
        "mean CT value, HU": [float(hu_from_unit(case.image, case.window_hu).mean()) for case in cases],
        "heart, ml": [case.heart_ml * float(np.prod(scale)) for case in cases if case.heart_ml is not None],
    }
    return "\n".join(
        f"  {name:<22}" + "".join(f"{value:>9.0f}" for value in np.percentile(values, (0, 50, 100)))
        for name, values in rows.items()
        if values
    )


def _find_usual_mm(annotated: Sequence[PreparedCase]) -> np.ndarray:
    return np.median([case.field_of_view_mm for case in annotated], axis=0)
