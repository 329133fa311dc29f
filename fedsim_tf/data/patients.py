"""Which scans are one patient's: folds must not train on a patient and test on another scan of the same one."""

from __future__ import annotations

import pathlib
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from fedsim_tf.data.rows import read_text, rows_of
from fedsim_tf.data.splits import Fold, split, split_sizes
from fedsim_tf.errors import InputError

PATIENTS_FILE = "patients.csv"
_HEADING = ["scan", "patient"]


def read_patients(path: pathlib.Path, identities: Collection[str]) -> dict[str, str]:
    """Patient by scan, of a CSV with the heading `scan,patient`; scans that it does not name are patients themselves.

    Lines that begin with # are comments.

    Args:
      path: the file.
      identities: the names of all scans beside it, of other sites too, without .nii.gz.

    Raises:
      InputError: an unreadable file, another heading, a row of another length, or a scan that is not there or comes
        twice, with its line.
    """
    rows = rows_of(read_text(path), str(path))
    if not rows or rows[0].cells != _HEADING:
        found = ",".join(rows[0].cells) if rows else "no rows"
        raise InputError(path, found=found, expected="the heading scan,patient")
    patients: dict[str, str] = {}
    for where, cells in rows[1:]:
        if len(cells) != 2 or not all(cells):
            raise InputError(where, found=",".join(cells), expected="a scan and its patient")
        scan = unicodedata.normalize("NFC", cells[0])  # as `layouts.stem`
        if scan not in identities or scan in patients:
            how = "a second time" if scan in patients else "which is no scan here"
            raise InputError(where, found=f"{scan}, {how}", expected="each scan's name once, without .nii.gz")
        patients[scan] = cells[1]
    return patients


def fold_of_scans(
    name: str,
    identities: Sequence[str],
    annotated: Collection[str],
    patients: Mapping[str, str],
    *,
    fold: int,
    seed: int,
) -> Fold:
    """A fold of scans that divides their patients; see `split`.

    Unannotated scans of patients that train, or of whom nothing is annotated, are `unannotated`; those of patients who
    validate or test are in no part.

    Args:
      name: of the data set; identities: all scans; annotated: those with labels.
      patients: patient by scan, where that is not the scan's own name.
      fold: 0 to 4; seed: another one gives another division.
    """
    scans: dict[str, list[str]] = {}
    for identity in sorted(identities):
        scans.setdefault(patients.get(identity, identity), []).append(identity)
    with_labels = {patients.get(identity, identity) for identity in annotated}
    parts = split(list(scans), split_sizes(name, len(with_labels)), fold=fold, seed=seed, annotated=with_labels)

    def of(chosen: Sequence[str], *, labels: bool) -> tuple[str, ...]:
        return tuple(scan for patient in chosen for scan in scans[patient] if (scan in annotated) == labels)

    train, validation, test = (of(part, labels=True) for part in parts[:3])
    return Fold(train, validation, test, of((*parts.train, *parts.unannotated), labels=False))
