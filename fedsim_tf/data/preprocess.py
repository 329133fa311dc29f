"""Preparation of a CT as the cube that the networks see, and the way back to the CT's own grid."""

from __future__ import annotations

import dataclasses

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.axis_matrices import resample_field_of_view
from fedsim_tf.data.crops import Crop, paste_crop, resample_crop
from fedsim_tf.data.images import read_geometry, volume_to_image
from fedsim_tf.data.voxel_digest import digest_voxels
from fedsim_tf.errors import InputError
from fedsim_tf.regions import REGION_IDS
from fedsim_tf.volume import Case, Geometry, Volume

WINDOW_HU = (-1000.0, 1000.0)
_FRAME = "LPS"
# Where voxels grow by an even factor, every new centre lies on a border between old voxels. Rounding noise would pick
# a side voxel by voxel and leave dents in a surface; a nudge towards the first voxel always picks the same side.
_NUDGE_VOXELS = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case on a cube of n x n x n voxels that spans the CT's whole field of view, or a crop of it.

    Attributes:
      identity: the scan.
      image: (n, n, n) float32, the HU window as -1 to 1.
      label: (n, n, n) uint8 region ids, or None.
      geometry: the cube's; its axes are the CT's own, in the order and direction closest to left, back and head.
      original: the CT's geometry.
      original_shape: the CT's shape (z, y, x).
      window_hu: CT values that became -1 and 1.
      content: a digest of the CT's voxels, whatever its header and the order and direction of its axes; equal ones are
        one CT.
      regions: the region ids in the label as it was read; a small one may have no voxel on the cube.
      remarks: warnings about the files that it was made from.
      crop: the part of the field of view that the cube is; None if it is all of it.
    """

    identity: str
    image: np.ndarray
    label: np.ndarray | None
    geometry: Geometry
    original: Geometry
    original_shape: tuple[int, int, int]
    window_hu: tuple[float, float] = WINDOW_HU
    content: str = ""
    regions: tuple[int, ...] = ()
    remarks: tuple[str, ...] = ()
    crop: Crop | None = None

    @property
    def field_of_view_mm(self) -> tuple[float, float, float]:
        """Return the edge lengths along the cube's (x, y, z) axes, voxel borders included."""
        return Volume(self.image, self.geometry).field_of_view_mm

    @property
    def heart_ml(self) -> float | None:
        """Return the heart's volume, all regions together, or None where there is no label."""
        return None if self.label is None else Volume(self.label, self.geometry).nonzero_ml


def prepare(
    case: Case, size: int, *, window_hu: tuple[float, float] = WINDOW_HU, crop: Crop | None = None
) -> PreparedCase:
    """Return a case with its whole field of view, or a crop of it, resampled to a cube.

    Axes are permuted and flipped, never rotated, to the closest LPS order. The cube has the CT's outer voxel borders,
    so its spacing is the field of view over `size`, along oblique axes too; or else it has the crop's place and edge,
    and where that reaches beyond the CT there is air. The CT is clipped to the window first:
    padding values such as -3024 are no attenuation and must not bleed into their neighbours. Then it is interpolated
    linearly, after a Gaussian where voxels grow (see `axis_matrices`). Labels are taken from the nearest voxel.

    Args:
      case: CT in HU and, where annotated, region ids.
      size: voxels along each edge.
      window_hu: CT values that become -1 and 1.
      crop: the part of the field of view that is taken; None takes all.

    Raises:
      InputError: a size below one or an empty window.
    """
    if size < 1:
        raise InputError("size", found=size, expected="at least 1")
    unit = case.image.with_array(unit_from_hu(case.image.array, window_hu))
    image = _resample_to_cube(unit, size, crop, nearest=False)
    label = None if case.label is None else _resample_to_cube(case.label, size, crop, nearest=True)
    cube = None if label is None else sitk.GetArrayFromImage(label).astype(np.uint8)
    regions = () if case.label is None else _find_regions(case.label.array)
    z, y, x = case.image.array.shape
    return PreparedCase(
        identity=case.identity,
        image=np.clip(sitk.GetArrayFromImage(image), -1.0, 1.0),
        label=cube,
        geometry=read_geometry(image),
        original=case.image.geometry,
        original_shape=(z, y, x),
        window_hu=window_hu,
        content=digest_voxels(case.image.array),
        regions=regions,
        crop=crop,
    )


def _find_regions(label: np.ndarray) -> tuple[int, ...]:
    return tuple(region for region in REGION_IDS if np.any(label == region))


def resample_to_original(array: np.ndarray, prepared: PreparedCase, *, nearest: bool) -> Volume:
    """Return an array on a prepared case's cube resampled to the grid of that case's CT.

    Args:
      array: (n, n, n), such as a predicted label or probability.
      prepared: the case whose cube it is.
      nearest: whether to take the nearest voxel (labels) instead of interpolating linearly (CT, probabilities).

    Returns:
      A volume with exactly the CT's shape and geometry. Its type is the array's where `nearest`, else float32.

    Raises:
      InputError: an array of another shape than the cube's.
    """
    if array.shape != prepared.image.shape:
        raise InputError("array", found=f"shape {array.shape}", expected=f"the cube's, {prepared.image.shape}")
    source = Volume(array if nearest else array.astype(np.float32), prepared.geometry)
    z, y, x = prepared.original_shape
    grid = sitk.Image([x, y, z], sitk.sitkUInt8)
    grid.SetSpacing(prepared.original.spacing_mm)
    grid.SetOrigin(prepared.original.origin_mm)
    grid.SetDirection(prepared.original.direction)
    axes = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(prepared.original.direction)
    oriented = sitk.DICOMOrient(grid, _FRAME)
    if prepared.crop is None:
        restored = _resample(volume_to_image(source), oriented.GetSize(), nearest=nearest)
    else:
        restored = paste_crop(volume_to_image(source), oriented, nearest=nearest)
    return Volume(sitk.GetArrayFromImage(sitk.DICOMOrient(restored, axes)), prepared.original)


def unit_from_hu(hu: np.ndarray, window_hu: tuple[float, float] = WINDOW_HU) -> np.ndarray:
    """Return CT values scaled so that the window is -1 to 1, and clipped to it; float32."""
    low, high = window_hu
    if not low < high:
        raise InputError("window_hu", found=window_hu, expected="two values in ascending order")
    scaled = (np.asarray(hu, np.float32) - np.float32(low)) / np.float32((high - low) / 2.0) - np.float32(1.0)
    return np.clip(scaled, -1.0, 1.0)


def hu_from_unit(unit: np.ndarray, window_hu: tuple[float, float] = WINDOW_HU) -> np.ndarray:
    """Return CT values (float32) of values from -1 to 1: inside the window, the inverse of `unit_from_hu`."""
    low, high = window_hu
    return (np.asarray(unit, np.float32) + np.float32(1.0)) * np.float32((high - low) / 2.0) + np.float32(low)


def orient(volume: Volume) -> sitk.Image:
    """Return a volume with its axes permuted and flipped, never rotated, to the closest order left, back, head."""
    return sitk.DICOMOrient(volume_to_image(volume), _FRAME)


def _resample_to_cube(volume: Volume, size: int, crop: Crop | None, *, nearest: bool) -> sitk.Image:
    image = orient(volume)
    if crop is not None:
        return resample_crop(image, crop, size, nearest=nearest)
    return _resample(image, (size, size, size), nearest=nearest)


def _resample(image: sitk.Image, size: tuple[int, ...], *, nearest: bool) -> sitk.Image:
    """Divide an image's field of view into another number of voxels (x, y, z), along the same axes."""
    if tuple(size) == image.GetSize():
        return image
    old_mm = np.array(image.GetSpacing())
    new_mm = old_mm * image.GetSize() / np.array(size)
    axes = np.array(image.GetDirection()).reshape(3, 3)
    # An origin is the centre of a voxel, half a voxel inwards from the common border.
    inwards_mm = (new_mm - old_mm) / 2.0 - (_NUDGE_VOXELS * np.minimum(old_mm, new_mm) if nearest else 0.0)
    origin_mm = np.array(image.GetOrigin()) + axes @ inwards_mm
    if not nearest:
        array = resample_field_of_view(sitk.GetArrayViewFromImage(image), size[::-1])
        return volume_to_image(
            Volume(array, Geometry(tuple(new_mm.tolist()), tuple(origin_mm.tolist()), image.GetDirection()))
        )
    return sitk.Resample(
        image,
        [int(n) for n in size],
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        origin_mm.tolist(),
        new_mm.tolist(),
        image.GetDirection(),
        0.0,
        image.GetPixelID(),
        True,  # voxels at the border extend outwards: no default value can enter
    )
