"""DICOM patients: a folder each, somewhere below it a CT series and, where it is annotated, an RTSTRUCT or SEG."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedsim_tf.data.case_files import CaseFiles
from fedsim_tf.data.dicom_files import CT_KINDS, ENHANCED_CT, DicomFile, describe_series, find_dicom_files, read_dataset
from fedsim_tf.data.remarks import warn
from fedsim_tf.data.structures import has_heart
from fedsim_tf.errors import InputError, Refusals, listed

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset

_LABEL_KINDS = ("rtstruct", "seg")


def find_dicom_patients(root: pathlib.Path) -> list[CaseFiles]:
    """Return a scan for each folder in `root` that has a CT series in it, or for `root` itself if its files lie there.

    A label belongs to the CT that it refers to, or to the only one. Labels without a heart are warned of.

    Raises:
      InputError: several CT series none of which a label refers to, several labels with a heart, or damaged files.
    """
    groups: dict[pathlib.Path, list[DicomFile]] = {}
    for file in find_dicom_files(root, below=True):
        parts = file.path.relative_to(root).parts
        groups.setdefault(root / parts[0] if len(parts) > 1 else root, []).append(file)
    if root in groups or _are_parts_of_one(list(groups.values())):
        groups = {root: [file for files in groups.values() for file in files]}
    refusals, cases = Refusals(root), []
    for folder, files in sorted(groups.items()):
        with refusals.each():
            cases += _find_case(folder, files)
    refusals.check()
    return cases


def _are_parts_of_one(groups: Sequence[Sequence[DicomFile]]) -> bool:
    """Return whether folders hold the CT and the labels of one patient, as `ct` and `rtstruct` do."""
    kinds = [{file.kind for file in files} for files in groups]
    with_ct = [one for one in kinds if one & set(CT_KINDS)]
    return len(kinds) > 1 and len(with_ct) == 1 and not with_ct[0] & set(_LABEL_KINDS)


def _find_case(folder: pathlib.Path, files: Sequence[DicomFile]) -> list[CaseFiles]:
    slices = [file for file in files if file.kind == "ct"] or [file for file in files if file.kind == ENHANCED_CT]
    if not slices:
        return []
    hearts = _find_hearts([file for file in files if file.kind in _LABEL_KINDS])
    series = {file.series for file in slices}
    if len(series) > 1:
        meant = {uid for _, label in hearts for uid in _referred_series(label)} & series
        if len(meant) != 1:
            found = f"several CT series: {describe_series(slices)}"
            raise InputError(folder, found=found, expected="one series a patient, or a label that refers to one")
        slices = [file for file in slices if file.series in meant]
    labels = [file for file, label in hearts if _fits(file, label, slices)]
    if len(labels) > 1:
        found = f"several labels with a heart: {listed([str(file.path.relative_to(folder)) for file in labels])}"
        raise InputError(folder, found=found, expected="one of them")
    places = {file.path.parent for file in slices}
    if len(places) > 1:
        found = f"the slices of one series in {len(places)} folders"
        raise InputError(folder, found=found, expected="a folder for each series")
    patient = slices[0].patient
    return [CaseFiles(folder.resolve().name, places.pop(), labels[0].path if labels else None, patient=patient)]


def _find_hearts(labels: Sequence[DicomFile]) -> list[tuple[DicomFile, Dataset]]:
    """Return the labels that have a heart, with their elements; the others are warned of."""
    from fedsim_tf.data.dicom_seg import list_segments
    from fedsim_tf.data.rtstruct import list_rois

    hearts = []
    for file in labels:
        dataset = read_dataset(file.path, stop_before_pixels=True)
        names = list(list_segments(dataset).values()) + [(name,) for name in list_rois(dataset).values()]
        if has_heart(names):
            hearts.append((file, dataset))
        else:
            warn("%s: no heart among %s; not used", file.path, listed([one[0] for one in names]) or "nothing")
    return hearts


def _referred_series(label: Dataset) -> set[str]:
    """Return the UIDs of the series that a label was made from."""
    frames = label.get("ReferencedFrameOfReferenceSequence", [])
    studies = [study for frame in frames for study in frame.get("RTReferencedStudySequence", [])]
    series = [one for study in studies for one in study.get("RTReferencedSeriesSequence", [])]
    return {str(one.SeriesInstanceUID) for one in [*series, *label.get("ReferencedSeriesSequence", [])]}


def _fits(file: DicomFile, label: Dataset, slices: Sequence[DicomFile]) -> bool:
    """Return whether a label lies in the frame of reference of a CT; one of another CT is warned of."""
    frames = {str(one.get("FrameOfReferenceUID")) for one in label.get("ReferencedFrameOfReferenceSequence", [])}
    frames |= {str(label.get("FrameOfReferenceUID"))} if label.get("FrameOfReferenceUID") else set()
    own = str(slices[0].header.get("FrameOfReferenceUID", ""))
    if own and frames and own not in frames:
        warn("%s: made for another CT (its frame of reference is another one); not used", file.path)
        return False
    return True
