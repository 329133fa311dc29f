"""RTSTRUCT, the contours of radiotherapy: planar polygons in mm, drawn onto the slices of their CT.

A pixel belongs to a structure if its centre lies within an odd number of the contours of its slice, so that a contour
within another one is a hole (DICOM PS3.3 C.8.8.6.3).
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from fedsim_tf.data.dicom_files import RTSTRUCT_CLASS, read_dataset
from fedsim_tf.data.grid_places import find_indices
from fedsim_tf.data.structures import Structures
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Volume

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset

_OFF_SLICE = 0.3  # of the distance between slices: files round, and some write the middle of a thick one


def open_rtstruct(path: pathlib.Path, image: Volume) -> Structures:
    """Return the structures of an RTSTRUCT file, drawn on the grid of its CT.

    Raises:
      InputError: a damaged file, or none with structures. Drawing refuses contours that are empty, not planar, between
        the CT's slices or beyond them, or on some of its slices only.
    """
    dataset = read_rtstruct(path)
    rois = list_rois(dataset)
    contours = {int(one.ReferencedROINumber): one for one in dataset.get("ROIContourSequence", [])}
    numbers = list(rois)

    def draw(index: int) -> np.ndarray:
        number = numbers[index]
        subject = f"{path} structure {rois[number]}"
        return _draw(contours.get(number), image, subject)

    return Structures(tuple((name,) for name in rois.values()), draw)


def read_rtstruct(path: pathlib.Path) -> Dataset:
    """Return the data elements of an RTSTRUCT file.

    Raises:
      InputError: a damaged file, or another kind of object.
    """
    dataset = read_dataset(path)
    if str(dataset.get("SOPClassUID")) != RTSTRUCT_CLASS:
        raise InputError(path, found="no RTSTRUCT object", expected="a DICOM RT Structure Set")
    return dataset


def list_rois(dataset: Dataset) -> dict[int, str]:
    """Return the name of each structure by its number."""
    return {int(one.ROINumber): str(one.get("ROIName", "")) for one in dataset.get("StructureSetROISequence", [])}


def _draw(contours: Dataset | None, image: Volume, subject: str) -> np.ndarray:
    mask = np.zeros(image.array.shape, bool)
    items = [] if contours is None else contours.get("ContourSequence", [])
    for item in items:
        if "CLOSED" in str(item.get("ContourGeometricType", "")):
            _toggle(mask, np.array(list(map(float, item.ContourData))).reshape(-1, 3), image, subject)
    if not mask.any():
        raise InputError(subject, found="no closed contour", expected="a contoured structure")
    _check_every_slice(mask, subject)
    return mask


def _toggle(mask: np.ndarray, points_mm: np.ndarray, image: Volume, subject: str) -> None:
    """Turn over the pixels within one contour."""
    from skimage.draw import polygon

    indices = find_indices(points_mm, image.geometry)
    heights = indices[:, 2]
    number = int(np.round(np.median(heights))) if np.all(np.isfinite(heights)) else -1
    if not 0 <= number < len(mask):
        found = f"a contour at slice {number} of {len(mask)}"
        raise InputError(subject, found=found, expected="the contours of this CT")
    if np.abs(heights - number).max() > _OFF_SLICE:
        found = f"a contour {np.abs(heights - number).max():.2f} slices away from a slice"
        raise InputError(subject, found=found, expected="contours that lie on the CT's slices")
    rows, columns = polygon(indices[:, 1], indices[:, 0], mask.shape[1:])
    mask[number, rows, columns] ^= True


def _check_every_slice(mask: np.ndarray, subject: str) -> None:
    """Refuse contours on every second slice or fewer: the mask would have stripes."""
    steps = np.diff(np.flatnonzero(mask.any(axis=(1, 2))))
    if len(steps) and np.median(steps) > 1:
        found = f"contours on one slice in {np.median(steps):g}"
        raise InputError(subject, found=found, expected="a contour on every slice: interpolate them in the planner")
