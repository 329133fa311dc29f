"""Closed triangle surfaces, one per heart region, in correspondence over subjects."""

from __future__ import annotations

import dataclasses
import os
import pathlib

import numpy as np

from fedsim_tf.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class CorrespondingShapes:
    """The same mesh for every subject, with other points.

    Attributes:
      points: (n, V, 3) in mm, (x, y, z).
      faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
      region_id: (V,) region of each vertex, 1..7; a face belongs to one region.

    Raises:
      InputError: shapes that do not fit together, values that are not finite, an open surface.
    """

    points: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray

    def __post_init__(self):
        if self.points.ndim != 3 or self.points.shape[2] != 3:
            raise InputError("points", found=f"shape {self.points.shape}", expected="(subjects, vertices, 3)")
        if not np.all(np.isfinite(self.points)):
            raise InputError("points", found="NaN or infinite coordinates", expected="finite coordinates in mm")
        check_topology(self.faces, self.region_id, n_vertices=self.points.shape[1])

    @classmethod
    def load(cls, path: str | os.PathLike) -> CorrespondingShapes:
        """Reads an .npz with `shapes` (n, V, 3), `faces` and `region_id`."""
        arrays = read_npz(path, required=("shapes", "faces", "region_id"))
        return cls(
            arrays["shapes"].astype(np.float32), arrays["faces"].astype(np.int32), arrays["region_id"].astype(np.uint8)
        )


def read_npz(path: str | os.PathLike, *, required: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, or an `InputError` that says why it cannot be used. Never unpickles."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(path, found="no such file", expected="an .npz file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # damaged zip members raise a dozen different types
        raise InputError(path, found=f"a damaged file ({error})", expected="a readable .npz file") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise InputError(path, found=f"arrays {sorted(arrays)}", expected=f"also {missing}")
    return arrays


def check_topology(faces: np.ndarray, region_id: np.ndarray, *, n_vertices: int) -> None:
    """Refuses faces that name missing vertices, mix regions, or leave a surface open or badly oriented."""
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError("faces", found=f"shape {faces.shape}", expected="(faces, 3)")
    if region_id.shape != (n_vertices,):
        raise InputError("region_id", found=f"shape {region_id.shape}", expected=f"({n_vertices},)")
    if faces.min() < 0 or faces.max() >= n_vertices:
        raise InputError("faces", found=f"vertex {faces.max()}", expected=f"vertices 0..{n_vertices - 1}")
    regions = region_id[faces]
    if np.any(regions != regions[:, :1]):
        raise InputError("faces", found="a face across two regions", expected="each face within one region")
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward = np.sort(edges[:, 0] * n_vertices + edges[:, 1])
    backward = np.sort(edges[:, 1] * n_vertices + edges[:, 0])
    if not np.array_equal(forward, backward) or np.any(forward[1:] == forward[:-1]):
        raise InputError(
            "faces", found="an open, non-manifold or inconsistently oriented surface", expected="closed surfaces"
        )


def region_surface(
    points: np.ndarray, faces: np.ndarray, region_id: np.ndarray, region: int
) -> tuple[np.ndarray, np.ndarray]:
    """Points (..., n, 3) and faces (m, 3), numbered anew, of one region."""
    kept = np.asarray(region_id) == region
    number = np.cumsum(kept) - 1
    return points[..., kept, :], number[faces[kept[faces[:, 0]]]]


def signed_volume_mm3(points_mm: np.ndarray, faces: np.ndarray) -> float:
    """Volume enclosed by closed surfaces, by the divergence theorem: the sum of signed tetrahedra."""
    a, b, c = (points_mm[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)
