"""A look for two scans of one person among the prepared volumes of a data set."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from fedsim_tf.data.alike import find_alike
from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.data.patients import PATIENTS_FILE
from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.data.remarks import warn
from fedsim_tf.progress import progress_bar


def warn_of_two_scans(cohort: Cohort, cases: Sequence[PreparedCase]) -> None:
    """Warn of scans that may be of one person and are not of one patient, and say how to keep them together.

    Args:
      cohort: says whose the scans are.
      cases: its prepared volumes; see `find_alike` for what the comparison costs.
    """
    pairs = itertools.combinations([case.identity for case in cases], 2)
    known = {frozenset(pair) for pair in pairs if cohort.patient(pair[0]) == cohort.patient(pair[1])}
    with progress_bar(0, "comparing scans", unit="comparison") as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        found = find_alike(cases, known=known, progress=advance)
    for pair in found:
        patient = cohort.patient(pair.one)
        text = (
            "%s and %s are far more alike (%.2f) than is usual in the set (%.2f). If they are two scans of one person, "
            "keep them together in every fold: %s with the heading scan,patient and the lines %s,%s and %s,%s"
        )
        file = PATIENTS_FILE
        warn(text, pair.one, pair.other, pair.similarity, pair.usual, file, pair.one, patient, pair.other, patient)
