"""DICOM SEG: frames of masks that say where they lie, placed on the grid of their CT."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim_tf.data.dicom_files import SEG_CLASSES, read_dataset
from fedsim_tf.data.grid_places import find_indices, place_block
from fedsim_tf.data.headers import GRID_TOLERANCE_VOXELS
from fedsim_tf.data.structures import Structures
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset


def open_dicom_seg(path: pathlib.Path, image: Volume) -> Structures:
    """Return the segments of a DICOM SEG file, placed on the grid of its CT.

    Raises:
      InputError: a damaged file, another kind of object, or probabilities instead of masks. Drawing refuses frames on
        another grid than the CT's.
    """
    dataset = read_dataset(path)
    if str(dataset.get("SOPClassUID")) not in SEG_CLASSES:
        raise InputError(path, found="no SEG object", expected="a DICOM Segmentation")
    segments = list_segments(dataset)
    numbers = list(segments)
    frames = _read_frames(dataset, path)

    def draw(index: int) -> np.ndarray:
        return _draw(dataset, frames, numbers[index], image, path)

    return Structures(tuple(segments.values()), draw)


def list_segments(dataset: Dataset) -> dict[int, tuple[str, ...]]:
    """Return the names of each segment by its number: its label, its description and its type."""
    found = {}
    for segment in dataset.get("SegmentSequence", []):
        kinds = segment.get("SegmentedPropertyTypeCodeSequence", [])
        names = [segment.get("SegmentLabel"), segment.get("SegmentDescription"), *(k.get("CodeMeaning") for k in kinds)]
        found[int(segment.SegmentNumber)] = tuple(str(name) for name in names if name) or ("unnamed",)
    return found


def _read_frames(dataset: Dataset, path: pathlib.Path) -> np.ndarray:
    """Return all frames (n, y, x): 0 or not, or segment numbers in a label map."""
    try:
        frames = dataset.pixel_array
    except Exception as error:  # pydicom raises whatever a damaged byte leads it to
        found = f"pixels that cannot be read ({' '.join(str(error).split())})"
        raise InputError(path, found=found, expected="a whole DICOM file") from error
    frames = frames if frames.ndim == 3 else frames[np.newaxis]
    if str(dataset.get("SegmentationType")) == "FRACTIONAL":
        most = int(dataset.get("MaximumFractionalValue", 255))
        if np.any((frames != 0) & (frames != most)):
            raise InputError(path, found="probabilities instead of a mask", expected="a binary segmentation")
    return frames


def _draw(dataset: Dataset, frames: np.ndarray, number: int, image: Volume, path: pathlib.Path) -> np.ndarray:
    is_map = str(dataset.get("SegmentationType")) == "LABELMAP"
    mask = np.zeros(image.array.shape, bool)
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        if not is_map and _segment_of(dataset, groups) != number:
            continue
        inside = frame == number if is_map else frame != 0
        if inside.any():
            start = _find_start(dataset, groups, image, path)
            mask |= place_block(inside[np.newaxis], start, mask.shape, path)
    if not mask.any():
        raise InputError(path, found=f"segment {number} without any voxel", expected="a segmented structure")
    return mask


def _segment_of(dataset: Dataset, groups: Dataset) -> int:
    return int(_get_group(dataset, groups, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _find_start(dataset: Dataset, groups: Dataset, image: Volume, path: pathlib.Path) -> tuple[int, int, int]:
    """Return the index (z, y, x) of a frame's first pixel on the image's grid.

    Raises:
      InputError: pixels of another size or direction, or between the image's.
    """
    try:
        position = np.array(_get_group(dataset, groups, "PlanePositionSequence").ImagePositionPatient, float)
        cosines = np.array(_get_group(dataset, groups, "PlaneOrientationSequence").ImageOrientationPatient, float)
        between_rows, between_columns = map(float, _get_group(dataset, groups, "PixelMeasuresSequence").PixelSpacing)
    except (AttributeError, KeyError, ValueError) as error:
        raise InputError(path, found=f"a frame without a place ({error})", expected="a whole DICOM SEG") from error
    along = np.array([[0, 0], [dataset.Columns - 1, 0], [0, dataset.Rows - 1]])
    places = position + np.outer(along[:, 0], cosines[:3] * between_columns)
    places += np.outer(along[:, 1], cosines[3:] * between_rows)
    found = find_indices(places, image.geometry)
    first = np.round(found[0])
    if np.abs(found - np.column_stack([along, np.zeros(3)]) - first).max() > GRID_TOLERANCE_VOXELS:
        found_text = "pixels of another size, direction or place than the CT's"
        raise InputError(path, found=found_text, expected="a segmentation on the grid of its CT")
    return int(first[2]), int(first[1]), int(first[0])


def _get_group(dataset: Dataset, groups: Dataset, name: str) -> Any:
    """Return an item of a frame's own functional groups or, where they lack it, of those shared by all frames."""
    if name in groups:
        return groups[name][0]
    return dataset.SharedFunctionalGroupsSequence[0][name][0]
