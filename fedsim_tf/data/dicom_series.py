"""A folder with one DICOM series of a CT becomes a volume in HU."""

from __future__ import annotations

import contextlib
import locale
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.dicom_enhanced import read_enhanced_frames
from fedsim_tf.data.dicom_files import (
    CT_CLASS,
    ENHANCED_CT,
    DicomFile,
    describe_series,
    find_dicom_files,
    read_dataset,
)
from fedsim_tf.data.itk_files import explain
from fedsim_tf.errors import InputError, listed
from fedsim_tf.volume import Geometry, Volume

if TYPE_CHECKING:  # it takes a third of a second to import
    from pydicom import Dataset

_EXPECTED = "one whole DICOM series of a CT"
_OFF_VOXELS = 0.1  # rounding of positions, as in `headers.GRID_TOLERANCE_VOXELS`
_TILT_DEGREES = 0.2  # a row of 0.2 degrees moves the last of 300 slices of 1 mm by 1 mm
_DOUBLED_MM = 1e-3


def read_dicom_series(folder: pathlib.Path) -> Volume:
    """Return the CT in a folder, from foot to head or as its slices go, int16 where its HU are whole, else float32.

    Masks, plans, scout views and what else is no CT slice may lie beside the slices. The CT may also be one file with
    all frames.

    Raises:
      InputError: no CT or several, slices that are missing, doubled, unevenly spaced, of several sizes or directions,
        a tilted gantry, or files that are damaged.
    """
    everything = find_dicom_files(folder) if folder.is_dir() else []
    whole = [file for file in everything if file.kind == ENHANCED_CT]
    if whole and not any(file.kind == "ct" for file in everything):
        return _read_enhanced(whole, folder)
    files = select_ct_series(folder)
    check_series(files, folder)
    first = files[0].header
    values = np.empty((len(files), int(first.Rows), int(first.Columns)), np.float32)
    for number, file in enumerate(files):
        pixels = _read_slice(file.path)
        if pixels.shape != values.shape[1:]:
            raise InputError(
                file.path, found=f"pixels of shape {pixels.shape}", expected=f"{values.shape[1:]}, one slice"
            )
        values[number] = pixels
    return Volume(_as_whole(values), series_geometry(files))


def _read_enhanced(whole: Sequence[DicomFile], folder: pathlib.Path) -> Volume:
    """Return the CT in one file with all frames."""
    if len(whole) > 1:
        found = f"several multi-frame (enhanced) CTs: {describe_series(whole)}"
        raise InputError(folder, found=found, expected="one, with all its frames in one file")
    frames = read_enhanced_frames(whole[0])
    for frame, _ in frames:
        _check_complete(frame)
    normal = _normal(frames[0][0])
    frames.sort(key=lambda frame: float(_position(frame[0]) @ normal))
    files = [file for file, _ in frames]
    check_series(files, folder)
    return Volume(_as_whole(np.stack([pixels for _, pixels in frames])), series_geometry(files))


def select_ct_series(folder: pathlib.Path) -> list[DicomFile]:
    """Return the slices of the only CT series in a folder, in the order in which they lie along its normal.

    Raises:
      InputError: no such folder, no CT in it, several, or one that is a single file with all frames.
    """
    if not folder.is_dir():
        raise InputError(folder, found="no such folder", expected=_EXPECTED)
    everything = find_dicom_files(folder)
    found = [file for file in everything if file.kind == "ct"]
    if not found:
        if any(file.kind == ENHANCED_CT for file in everything):
            expected = "one file a slice, which masks in DICOM refer to; write another format"
            raise InputError(folder, found="a multi-frame (enhanced) CT", expected=expected)
        rest = describe_series(everything)
        raise InputError(folder, found=f"no CT slice{f', only {rest}' if rest else ''}", expected=_EXPECTED)
    if len({file.series for file in found}) > 1:
        raise InputError(folder, found=f"several CT series: {describe_series(found)}", expected="one series a folder")
    for file in found:
        _check_complete(file)
    normal = _normal(found[0])
    return sorted(found, key=lambda file: float(_position(file) @ normal))


def check_series(files: Sequence[DicomFile], folder: pathlib.Path) -> None:
    """Refuse slices that do not make a regular upright grid.

    Args:
      files: the slices, sorted along their normal.
      folder: their place, for messages.

    Raises:
      InputError: see `read_dicom_series`.
    """
    _check_one_kind(files, folder)
    if len(files) < 2:
        raise InputError(folder, found="a single slice", expected="a series of slices")
    positions, normal = np.array([_position(file) for file in files]), _normal(files[0])
    heights = positions @ normal
    _check_doubled(files, np.diff(heights), folder)
    _check_tilt(positions, normal, folder)
    _check_even(files, heights, folder)


def series_geometry(files: Sequence[DicomFile]) -> Geometry:
    """Return where the grid of a checked series lies: x along rows, y along columns, z from the first slice on."""
    row, column = _axes(files[0])
    normal = np.cross(row, column)
    first, last = _position(files[0]), _position(files[-1])
    step_mm = float((last - first) @ normal) / (len(files) - 1)
    between_rows, between_columns = map(float, files[0].header.PixelSpacing)
    direction = np.column_stack([row, column, normal])
    return Geometry(
        (between_columns, between_rows, step_mm),
        (float(first[0]), float(first[1]), float(first[2])),
        tuple(direction.ravel().tolist()),
    )


def _check_complete(file: DicomFile) -> None:
    needed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns")
    missing = [name for name in needed if not file.header.get(name)]
    if missing:
        raise InputError(file.path, found=f"a CT slice without {', '.join(missing)}", expected=_EXPECTED)
    numbers = [*_position(file), *_axes(file)[0], *_axes(file)[1], *map(float, file.header.PixelSpacing)]
    row, column = _axes(file)
    upright = np.allclose([row @ row, column @ column, row @ column], [1.0, 1.0, 0.0], atol=1e-3)
    if not np.all(np.isfinite(numbers)) or min(map(float, file.header.PixelSpacing)) <= 0 or not upright:
        found = "a position, direction or pixel size that no image can have"
        raise InputError(file.path, found=found, expected=_EXPECTED)


def _check_one_kind(files: Sequence[DicomFile], folder: pathlib.Path) -> None:
    first = files[0].header
    for file in files[1:]:
        one = file.header
        if (one.Rows, one.Columns) != (first.Rows, first.Columns) or not np.allclose(
            list(map(float, one.PixelSpacing)), list(map(float, first.PixelSpacing)), rtol=1e-3
        ):
            found = f"{file.path.name} with {one.Columns} x {one.Rows} pixels of {_size(file)} mm"
            expected = f"{first.Columns} x {first.Rows} pixels of {_size(files[0])} mm, as in {files[0].path.name}"
            raise InputError(folder, found=found, expected=expected)
        if not np.allclose(np.concatenate(_axes(file)), np.concatenate(_axes(files[0])), atol=1e-3):
            found = f"{file.path.name} in another direction than {files[0].path.name}"
            raise InputError(folder, found=found, expected="slices of one direction, without scout views")


def _check_doubled(files: Sequence[DicomFile], steps_mm: np.ndarray, folder: pathlib.Path) -> None:
    doubled = np.flatnonzero(steps_mm < _DOUBLED_MM)
    if not len(doubled):
        return
    pairs = [f"{files[k].path.name} and {files[k + 1].path.name}" for k in doubled]
    copies = len({str(file.header.get("SOPInstanceUID")) for file in files}) < len(files)
    why = "a file that is there twice" if copies else "as of several phases in one series"
    found = f"{len(doubled)} slices that lie where another one does ({listed(pairs, shown=3)}), {why}"
    raise InputError(folder, found=found, expected="each slice once, one phase a folder")


def _check_tilt(positions: np.ndarray, normal: np.ndarray, folder: pathlib.Path) -> None:
    along = positions[-1] - positions[0]
    height = float(along @ normal)
    sideways = float(np.linalg.norm(along - height * normal))
    degrees = float(np.degrees(np.arctan2(sideways, height)))
    if degrees > _TILT_DEGREES:
        found = f"slices that lean by {degrees:.1f} degrees against their stack, as of a tilted gantry"
        raise InputError(folder, found=found, expected="a CT that was resampled to upright axes")


def _check_even(files: Sequence[DicomFile], heights_mm: np.ndarray, folder: pathlib.Path) -> None:
    steps = np.diff(heights_mm)
    usual = float(np.median(steps))
    gaps = np.flatnonzero(steps > (2 - _OFF_VOXELS * 2) * usual)
    if len(gaps):
        missing = int(np.sum(np.round(steps[gaps] / usual) - 1))
        after = [f"{files[k].path.name} at {heights_mm[k]:.1f} mm" for k in gaps]
        found = f"{missing} of {len(files) + missing} slices missing, after {listed(after, shown=3)}"
        raise InputError(folder, found=found, expected=f"a slice every {usual:.3g} mm")
    even = np.linspace(heights_mm[0], heights_mm[-1], len(heights_mm))
    if np.abs(heights_mm - even).max() > _OFF_VOXELS * usual:
        found = f"slices {steps.min():.3g} to {steps.max():.3g} mm apart"
        raise InputError(folder, found=found, expected="slices that are evenly spaced")


def _position(file: DicomFile) -> np.ndarray:
    return np.array(list(map(float, file.header.ImagePositionPatient)))


def _axes(file: DicomFile) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors along rows (towards higher columns) and along columns."""
    cosines = np.array(list(map(float, file.header.ImageOrientationPatient)))
    return cosines[:3], cosines[3:]


def _normal(file: DicomFile) -> np.ndarray:
    return np.cross(*_axes(file))


def _size(file: DicomFile) -> str:
    return " x ".join(f"{float(mm):g}" for mm in file.header.PixelSpacing)


def _read_slice(path: pathlib.Path) -> np.ndarray:
    """Return one slice (y, x) in HU, float32."""
    dataset = read_dataset(path)
    if str(dataset.get("SOPClassUID")) != CT_CLASS or int(dataset.get("SamplesPerPixel", 1)) != 1:
        raise InputError(path, found="no grey CT slice", expected=_EXPECTED)
    try:
        return _rescale(dataset.pixel_array, dataset)
    except Exception as error:  # pydicom raises whatever a damaged byte or a decoder that is not there leads it to
        if dataset.file_meta.get("TransferSyntaxUID") and dataset.file_meta.TransferSyntaxUID.is_compressed:
            return _read_packed_slice(path)
        found = f"pixels that cannot be read ({' '.join(str(error).split())})"
        raise InputError(path, found=found, expected="a whole DICOM file") from error


def _rescale(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    return stored.astype(np.float32) * float(1 if slope is None else slope) + float(intercept or 0)


def _read_packed_slice(path: pathlib.Path) -> np.ndarray:
    """Return a compressed slice through GDCM, which knows JPEG in all its forms and rescales by itself."""
    try:
        with _kept_locale():
            image = sitk.ReadImage(str(path), sitk.sitkFloat32, imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise InputError(path, found=f"an unreadable slice ({explain(error)})", expected=_EXPECTED) from error
    return sitk.GetArrayFromImage(image)[0]


@contextlib.contextmanager
def _kept_locale() -> Iterator[None]:
    """Undo what GDCM's JPEG codecs do to the process: after them the locale is C, and Python writes ASCII alone."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _as_whole(values: np.ndarray) -> np.ndarray:
    """Return HU as int16 where that loses nothing."""
    limits = np.iinfo(np.int16)
    if values.min() < limits.min or values.max() > limits.max:
        return values
    whole = values.astype(np.int16)
    return whole if np.array_equal(whole, values) else values
