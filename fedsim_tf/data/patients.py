"""Patients with several scans: folds must not train on a scan of a patient and test on another one."""

from __future__ import annotations

import pathlib
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from fedsim_tf.data.csv_files import read_csv
from fedsim_tf.data.splits import Fold, split, split_sizes
from fedsim_tf.errors import InputError

PATIENTS_FILE = "patients.csv"
_HEADING = ["scan", "patient"]


def read_patients(path: pathlib.Path, identities: Collection[str]) -> dict[str, str]:
    """Return the patient of each scan that a CSV file with the heading `scan,patient` names.

    Lines that begin with # are comments.

    Args:
      path: the file.
      identities: the names of all scans beside it, of other sites too, without .nii.gz.

    Raises:
      InputError: an unreadable file, another heading, or, with its line, a row of another length or a scan that is not
        there or comes twice.
    """
    rows = read_csv(path)
    if not rows or rows[0].cells != _HEADING:
        found = ",".join(rows[0].cells) if rows else "no rows"
        raise InputError(path, found=found, expected="the heading scan,patient")
    patients: dict[str, str] = {}
    for where, cells in rows[1:]:
        if len(cells) != 2 or not all(cells):
            raise InputError(where, found=",".join(cells), expected="a scan and its patient")
        scan, patient = (unicodedata.normalize("NFC", cell) for cell in cells)  # as in `formats.strip_suffix`
        if scan not in identities or scan in patients:
            how = "a second time" if scan in patients else "which is no scan here"
            raise InputError(where, found=f"{scan}, {how}", expected="each scan's name once, without .nii.gz")
        patients[scan] = patient
    return patients


def split_scans(
    name: str,
    identities: Sequence[str],
    annotated: Collection[str],
    patients: Mapping[str, str],
    *,
    fold: int,
    seed: int,
) -> Fold:
    """Return the scans of one fold, no two of one patient in two parts; see `split`.

    Unannotated scans of patients who train, or of whom nothing is annotated, are `unannotated`. Those of patients who
    validate or test are in no part.

    Args:
      name: the data set.
      identities: all scans.
      annotated: the scans with labels.
      patients: the patient of each scan; a scan that is missing here is a patient of its own.
      fold: the fold's index, from 0.
      seed: another seed gives another split.

    Raises:
      InputError: no such fold, or too few annotated patients.
    """
    scans: dict[str, list[str]] = {}
    for identity in sorted(identities):
        scans.setdefault(patients.get(identity, identity), []).append(identity)
    with_labels = {patients.get(identity, identity) for identity in annotated}
    parts = split(list(scans), split_sizes(name, len(with_labels)), fold=fold, seed=seed, annotated=with_labels)

    def select(chosen: Sequence[str], *, labels: bool) -> tuple[str, ...]:
        return tuple(scan for patient in chosen for scan in scans[patient] if (scan in annotated) == labels)

    train, validation, test = (select(part, labels=True) for part in parts[:3])
    return Fold(train, validation, test, select((*parts.train, *parts.unannotated), labels=False))
