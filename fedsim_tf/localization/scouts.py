"""CTs at low resolution, in which hearts are looked for; annotated ones remember where their heart lies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.crops import resample_aligned
from fedsim_tf.data.grid_places import find_indices, find_places_mm
from fedsim_tf.data.images import read_geometry
from fedsim_tf.data.preprocess import orient
from fedsim_tf.data.voxel_digest import digest_voxels
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.volume import Case, Geometry, Volume

SPACING_MM = 4.0
RANGE_HU = (-1000.0, 1000.0)
_FIELDS = ("count",)


@dataclasses.dataclass(frozen=True, eq=False)
class Scout:
    """A CT with cubic voxels of 4 mm. Places are in mm along its own axes, from the centre of its first voxel.

    Attributes:
      identity: the scan.
      hu: (z, y, x) int16, air beyond the CT.
      geometry: where the voxels lie in the patient.
      heart_mm: the centre of mass (x, y, z) of the heart, where the scan is annotated.
      heart_edges_mm: the edges (x, y, z) of the box that just holds the heart.
      content: a digest of the CT's own voxels; see `digest_voxels`.
    """

    identity: str
    hu: np.ndarray
    geometry: Geometry
    heart_mm: tuple[float, float, float] | None = None
    heart_edges_mm: tuple[float, float, float] | None = None
    content: str = ""

    def to_patient(self, place_mm: Sequence[float]) -> tuple[float, float, float]:
        """Return the point (x, y, z) in the patient of a place."""
        x, y, z = find_places_mm(np.array([place_mm]) / SPACING_MM, self.geometry)[0].tolist()
        return x, y, z

    def from_patient(self, point_mm: Sequence[float]) -> tuple[float, float, float]:
        """Return the place of a point (x, y, z) in the patient."""
        x, y, z = (find_indices(np.array([point_mm]), self.geometry)[0] * SPACING_MM).tolist()
        return x, y, z


def make_scout(case: Case) -> Scout:
    """Return a scan as a scout."""
    image = orient(case.image)
    extent_mm = np.array(image.GetSize()) * image.GetSpacing()
    x, y, z = (int(n) for n in np.ceil(extent_mm / SPACING_MM - 1e-6))
    axes = np.reshape(image.GetDirection(), (3, 3))
    origin_mm = np.array(image.GetOrigin()) + axes @ ((SPACING_MM - np.array(image.GetSpacing())) / 2)
    grid = Geometry((SPACING_MM,) * 3, tuple(origin_mm.tolist()), image.GetDirection())
    clipped = sitk.Clamp(image, sitk.sitkFloat32, *RANGE_HU)
    hu = resample_aligned(clipped, grid, (x, y, z), nearest=False, beyond=RANGE_HU[0])
    scout = Scout(
        identity=case.identity,
        hu=np.round(sitk.GetArrayViewFromImage(hu)).astype(np.int16),
        geometry=read_geometry(hu),
        content=digest_voxels(case.image.array),
    )
    if case.label is None or not case.label.array.any():
        return scout
    label = orient(case.label)
    first, last, centre = _box_and_centre(sitk.GetArrayViewFromImage(label) > 0)
    edges_mm = (last - first + 1) * label.GetSpacing()
    point_mm = find_places_mm(np.array([centre]), read_geometry(label))[0]
    return dataclasses.replace(
        scout, heart_mm=scout.from_patient(point_mm.tolist()), heart_edges_mm=tuple(edges_mm.tolist())
    )


def _box_and_centre(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first and last index (x, y, z) of a mask (z, y, x) that is not empty, and its centre of mass."""
    first, last, centre = [], [], []
    for axis in (2, 1, 0):
        others = tuple(other for other in range(3) if other != axis)
        counts = mask.sum(axis=others, dtype=np.int64)
        filled = np.flatnonzero(counts)
        first.append(filled[0])
        last.append(filled[-1])
        centre.append(float(counts @ np.arange(len(counts)) / counts.sum()))
    return np.array(first), np.array(last), np.array(centre)


def write_scouts(scouts: Sequence[Scout], path: str | os.PathLike, **others: np.ndarray) -> None:
    """Write scouts, and other arrays by name, as one .npz, atomically."""
    arrays: dict[str, np.ndarray] = {**others, "count": np.array(len(scouts))}
    for number, scout in enumerate(scouts):
        arrays |= {
            f"identity_{number}": np.array(scout.identity),
            f"content_{number}": np.array(scout.content),
            f"hu_{number}": scout.hu,
            f"origin_mm_{number}": np.array(scout.geometry.origin_mm),
            f"direction_{number}": np.array(scout.geometry.direction),
            f"heart_{number}": np.array([*(scout.heart_mm or ()), *(scout.heart_edges_mm or ())]),
        }
    write_npz(path, arrays, compressed=True)


def read_scouts(path: str | os.PathLike) -> tuple[list[Scout], dict[str, np.ndarray]]:
    """Return scouts that were written, and all arrays of their file by name.

    Raises:
      InputError: no such file, or one that is damaged or holds something else.
    """
    stored = read_npz(path, required=_FIELDS)
    try:
        return [_unpack(stored, number) for number in range(int(stored["count"]))], stored
    except (KeyError, ValueError, TypeError):
        raise InputError(path, found="a damaged file", expected="scouts, as a run writes them") from None


def _unpack(stored: dict[str, np.ndarray], number: int) -> Scout:
    heart = stored[f"heart_{number}"].tolist()
    geometry = Geometry(
        (SPACING_MM,) * 3,
        tuple(stored[f"origin_mm_{number}"].tolist()),
        tuple(stored[f"direction_{number}"].tolist()),
    )
    hu = Volume(stored[f"hu_{number}"], geometry).array  # checks both
    return Scout(
        identity=str(stored[f"identity_{number}"]),
        hu=hu,
        geometry=geometry,
        heart_mm=tuple(heart[:3]) if heart else None,
        heart_edges_mm=tuple(heart[3:]) if heart else None,
        content=str(stored[f"content_{number}"]),
    )
