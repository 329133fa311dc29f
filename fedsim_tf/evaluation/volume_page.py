"""A page of a data set's volumes as networks will see them: a picture and the numbers of each, and what is odd."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit
from fedsim_tf.evaluation.pages import render_page

_SHARES = (1, 50, 99)  # percentiles of CT values


@dataclasses.dataclass(frozen=True)
class VolumeRow:
    """What the page says of one scan.

    Attributes:
      name, patient: of the scan, and whose it is.
      picture: the PNG's path relative to the page.
      voxels: the CT's size (x, y, z).
      spacing_mm, extent_mm: the CT's voxels and its field of view (x, y, z).
      hu: CT values that 1, 50 and 99 % of the prepared voxels are below.
      heart_ml: the heart's volume, if the scan is annotated.
      heart_place: where the heart's centre lies, in percent of the field of view from right, front and feet.
      remarks: warnings about its files.
    """

    name: str
    patient: str
    picture: str
    voxels: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    extent_mm: tuple[float, ...]
    hu: tuple[float, ...]
    heart_ml: float | None
    heart_place: tuple[float, ...]
    remarks: tuple[str, ...]


def describe_volume(case: PreparedCase, *, patient: str, picture: str) -> VolumeRow:
    """Return the row of a prepared scan."""
    heart = None if case.label is None else case.label > 0
    place: tuple[float, ...] = ()
    if heart is not None:
        centre = (np.argwhere(heart).mean(axis=0) + 0.5) / heart.shape
        place = tuple((100.0 * centre[::-1]).tolist())
    return VolumeRow(
        name=case.identity,
        patient=patient,
        picture=picture,
        voxels=case.original_shape[::-1],
        spacing_mm=case.original.spacing_mm,
        extent_mm=case.field_of_view_mm,
        hu=tuple(np.percentile(hu_from_unit(case.image, case.window_hu), _SHARES).tolist()),
        heart_ml=case.heart_ml,
        heart_place=place,
        remarks=case.remarks,
    )


def write_volume_page(
    path: pathlib.Path, *, title: str, rows: Sequence[VolumeRow], left_out: Sequence[str], remarks: Sequence[str]
) -> None:
    """Write the page.

    Args:
      path: the HTML file; pictures are relative to its folder.
      title: the page's heading.
      rows: every scan that can be used.
      left_out: why each of the others cannot.
      remarks: warnings about the data set as a whole.
    """
    by = lambda values, digits=0: " x ".join(f"{value:.{digits}f}" for value in values)  # noqa: E731
    render_page(path, "volumes.html.j2", title=title, rows=rows, left_out=left_out, remarks=remarks, by=by)
