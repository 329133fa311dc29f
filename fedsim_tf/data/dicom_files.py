"""DICOM files below a folder, told apart by what they say that they are; no pixel is read here."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import is_dicom_file
from fedsim_tf.errors import InputError

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_CLASSES = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")  # the second: legacy converted
ENHANCED_CT = "enhanced CT"  # all frames in one file
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # the second: label maps
CT_KINDS = ("ct", ENHANCED_CT)
_SCOUT = "LOCALIZER"
_TAGS = [
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SeriesDescription",
    "Modality",
    "PatientID",
    "FrameOfReferenceUID",
    "ImageType",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
]


@dataclasses.dataclass(frozen=True, eq=False)
class DicomFile:
    """A DICOM file and what its header says.

    Attributes:
      path: the file.
      header: its data elements without the pixels, those of `_TAGS` alone.
    """

    path: pathlib.Path
    header: Dataset

    @property
    def series(self) -> str:
        """Return the UID of its series, empty if it has none."""
        return str(self.header.get("SeriesInstanceUID", ""))

    @property
    def kind(self) -> str:
        """Return "ct", "rtstruct", "seg", or for any other object the words with which messages name it."""
        sop_class = str(self.header.get("SOPClassUID", ""))
        if sop_class == CT_CLASS:
            return "scout view" if _SCOUT in self.header.get("ImageType", ()) else "ct"
        enhanced = dict.fromkeys(ENHANCED_CT_CLASSES, ENHANCED_CT)
        known = {RTSTRUCT_CLASS: "rtstruct", **dict.fromkeys(SEG_CLASSES, "seg"), **enhanced}
        return known.get(sop_class, str(self.header.get("Modality", "")) or "no image")

    @property
    def patient(self) -> str:
        """Return the patient's id, empty if it was taken out."""
        return str(self.header.get("PatientID", "") or "")


def find_dicom_files(folder: pathlib.Path, *, below: bool = False) -> list[DicomFile]:
    """Return the DICOM files in a folder, or also those in all folders below, by path.

    Raises:
      InputError: a file with DICOM's mark that cannot be read.
    """
    return [read_dicom_header(path) for path in walk_files(folder, below=below) if is_dicom_file(path)]


def read_dicom_header(path: pathlib.Path) -> DicomFile:
    """Return what a file says of itself.

    Raises:
      InputError: a file that is no DICOM file, or a damaged one.
    """
    return DicomFile(path, read_dataset(path, stop_before_pixels=True, specific_tags=_TAGS))


def read_dataset(path: pathlib.Path, **options) -> Dataset:
    """Return a DICOM file's data elements, with pydicom's options.

    Raises:
      InputError: a file that is no DICOM file, or a damaged one.
    """
    import pydicom

    try:
        dataset = pydicom.dcmread(path, force=True, **options)
        known = bool(dataset.get("SOPClassUID")) or "DirectoryRecordSequence" in dataset or bool(dataset.file_meta)
    except Exception as error:  # pydicom raises whatever a damaged byte leads it to
        raise InputError(path, found=f"a damaged file ({_one_line(error)})", expected="a whole DICOM file") from error
    if not known:
        raise InputError(path, found="no DICOM object", expected="a whole DICOM file")
    return dataset


def describe_series(files: Iterable[DicomFile]) -> str:
    """Return the series of some files for messages, such as "CT 'chest 3mm' (91 files, 1.2.3)"."""
    groups: dict[str, list[DicomFile]] = {}
    for file in files:
        groups.setdefault(file.series, []).append(file)
    texts = []
    for uid, members in groups.items():
        title = str(members[0].header.get("SeriesDescription", "") or "")
        name = f"{members[0].header.get('Modality', '?')}{f' {title!r}' if title else ''}"
        texts.append(f"{name} in {members[0].path.parent.name} ({len(members)} files, {uid or 'no UID'})")
    return ", ".join(texts)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
