"""A CT with all frames in one DICOM file (Enhanced CT, PS3.3 A.38.1, and Legacy Converted Enhanced CT, A.70).

Where each frame lies and how its values are scaled stands in functional groups, of each frame or shared by all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim_tf.data.dicom_files import DicomFile, read_dataset
from fedsim_tf.errors import InputError

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset

_EXPECTED = "a CT with the place of every frame"
# The elements of a slice's header, by the sequence that has them in a functional group.
_PLACES = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}
_SCALING = "PixelValueTransformationSequence"


def read_enhanced_frames(file: DicomFile) -> list[tuple[DicomFile, np.ndarray]]:
    """Return each frame as if it were a slice's file, with its pixels (y, x) in HU, float32, in the file's order.

    Raises:
      InputError: frames without a place or scaling, pixels that cannot be read, or fewer than the file announces.
    """
    dataset = read_dataset(file.path)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence", []))
    try:
        stored = np.asarray(dataset.pixel_array)
    except Exception as error:  # pydicom raises whatever a damaged byte or a decoder that is not there leads it to
        found = f"pixels that cannot be read ({' '.join(str(error).split())})"
        raise InputError(file.path, found=found, expected="a whole DICOM file") from error
    stored = stored[None] if stored.ndim == 2 else stored
    if stored.ndim != 3 or len(stored) != len(groups):
        found = f"pixels of shape {stored.shape} and places of {len(groups)} frames"
        raise InputError(file.path, found=found, expected=_EXPECTED)
    return [_read_frame(file, dataset, number, pixels) for number, pixels in enumerate(stored)]


def _read_frame(file: DicomFile, dataset: Dataset, number: int, pixels: np.ndarray) -> tuple[DicomFile, np.ndarray]:
    from pydicom.dataset import Dataset

    header = Dataset()
    for name in ("SeriesInstanceUID", "Rows", "Columns"):
        setattr(header, name, dataset.get(name))
    header.SOPInstanceUID = f"{dataset.get('SOPInstanceUID', '')}.{number + 1}"
    frame = file.path.with_name(f"{file.path.name}, frame {number + 1}")
    for sequence, element in _PLACES.items():
        setattr(header, element, _find(dataset, number, sequence, element))
    scaling = [_find(dataset, number, _SCALING, element) for element in ("RescaleSlope", "RescaleIntercept")]
    if None in scaling:
        raise InputError(frame, found="no scaling to HU (pixel value transformation)", expected=_EXPECTED)
    slope, intercept = map(float, scaling)
    return DicomFile(frame, header), pixels.astype(np.float32) * slope + intercept


def _find(dataset: Dataset, number: int, sequence: str, element: str) -> Any:
    """Return an element of a frame's functional group, or of the shared one, or None."""
    for group in (
        dataset.PerFrameFunctionalGroupsSequence[number],
        *dataset.get("SharedFunctionalGroupsSequence", []),
    ):
        items = group.get(sequence)
        if items and items[0].get(element) is not None:
            return items[0].get(element)
    return None
