"""One CT under two names, which could be trained on and tested with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.patients import PATIENTS_FILE
from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.data.remarks import warn
from fedsim_tf.errors import InputError


def keep_distinct(
    cohort: Cohort, cases: Sequence[PreparedCase], *, refused: Callable[[InputError], None]
) -> list[PreparedCase]:
    """Return the cases without those whose CT has the voxels of an earlier case, whatever its header.

    A copy with other axes, flipped or in another order, has the same voxels.

    Two scans that patients.csv gives to one patient stay together in every fold. They are warned of and kept.

    Args:
      cohort: says whose the scans are.
      cases: prepared ones of that cohort.
      refused: is called with the reason for each case that is left out.
    """
    images = {files.identity: files.image for files in cohort.files}
    first: dict[str, str] = {}
    kept = []
    for case in cases:
        other = first.setdefault(case.content, case.identity) if case.content else case.identity
        if other == case.identity:
            kept.append(case)
        elif cohort.patient(other) == cohort.patient(case.identity):
            warn("%s has the voxels of %s, a scan of the same patient", images[case.identity], images[other])
            kept.append(case)
        else:
            expected = f"each CT once: remove one, or give both to one patient in {PATIENTS_FILE}"
            refused(InputError(images[case.identity], found=f"the voxels of {images[other]}", expected=expected))
    return kept
