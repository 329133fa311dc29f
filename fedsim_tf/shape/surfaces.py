"""Closed triangle surfaces, one for each region of the heart, in correspondence over subjects."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fedsim_tf.errors import InputError, naming
from fedsim_tf.files import read_npz, write_npz
from fedsim_tf.regions import REGION_IDS

_SIZES_MM = (10.0, 1000.0)  # a heart is no smaller and no larger than that


@dataclasses.dataclass(frozen=True, eq=False)
class CorrespondingShapes:
    """Shapes in point correspondence: the faces of one mesh, with the points of each subject.

    Attributes:
      points: (n, V, 3) in mm, (x, y, z).
      faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
      region_id: (V,) region of each vertex, 1..7; a face belongs to one region.
      subjects: names of the subjects, in the order of `points`; empty where unknown.
      subject_digests: SHA-256 of each subject's label files, see `fedsim_tf.files.digest_files`; empty where unknown.

    Raises:
      InputError: shapes that do not fit together, values that are not finite, an open surface or one inside out.
    """

    points: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray
    subjects: tuple[str, ...] = ()
    subject_digests: tuple[str, ...] = ()

    def __post_init__(self):
        if self.points.ndim != 3 or self.points.shape[2] != 3:
            raise InputError("points", found=f"shape {self.points.shape}", expected="(subjects, vertices, 3)")
        if not np.all(np.isfinite(self.points)):
            raise InputError("points", found="NaN or infinite coordinates", expected="finite coordinates in mm")
        for name in ("subjects", "subject_digests"):
            count = len(getattr(self, name))
            if count not in (0, len(self.points)):
                raise InputError(name, found=f"{count} names", expected=f"{len(self.points)}")
        check_surfaces(self.points, self.faces, self.region_id)

    @classmethod
    def load(cls, path: str | os.PathLike) -> CorrespondingShapes:
        """Read an .npz with `shapes` (n, V, 3), `faces`, `region_id` and, where it has them, the subjects.

        Raises:
          InputError: no such file, a damaged one, or shapes that cannot be used.
        """
        arrays = read_npz(path, required=("shapes", "faces", "region_id"))
        subjects, digests = read_subjects(arrays)
        points, faces, region_id = (arrays[name] for name in ("shapes", "faces", "region_id"))
        with naming(path):
            _check_regions(region_id)
            return cls(
                points.astype(np.float32),
                faces.astype(np.int32),
                region_id.astype(np.uint8),
                subjects=subjects,
                subject_digests=digests,
            )

    def save(self, path: str | os.PathLike) -> None:
        """Write what `load` reads; an interrupted write leaves no file behind."""
        arrays = {"shapes": self.points, "faces": self.faces, "region_id": self.region_id}
        write_npz(path, arrays | subjects_as_arrays(self.subjects, self.subject_digests), compressed=True)


def read_subjects(arrays: Mapping[str, np.ndarray]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return subjects and their digests from the arrays of a file; both are empty where the file has none."""
    names, digests = (tuple(map(str, arrays.get(name, ()))) for name in ("subjects", "subject_digests"))
    return names, digests


def subjects_as_arrays(subjects: Sequence[str], subject_digests: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the arrays that `read_subjects` reads."""
    return {"subjects": np.array(subjects, np.str_), "subject_digests": np.array(subject_digests, np.str_)}


def check_surfaces(points: np.ndarray, faces: np.ndarray, region_id: np.ndarray) -> None:
    """Refuse shapes (n, V, 3) that are not closed surfaces of regions of the heart, seen from outside.

    Raises:
      InputError: the first thing that is wrong with them.
    """
    _check_regions(region_id)
    check_topology(faces, region_id, n_vertices=points.shape[1])
    _check_size(points)
    _check_outward(points, faces, region_id)


def check_topology(faces: np.ndarray, region_id: np.ndarray, *, n_vertices: int) -> None:
    """Refuse faces that name missing vertices, mix regions, or leave a surface open or badly oriented.

    Raises:
      InputError: the first thing that is wrong with them.
    """
    for name, numbers in (("faces", faces), ("region_id", region_id)):
        if numbers.dtype.kind not in "iu":
            raise InputError(name, found=f"values of {numbers.dtype}", expected="whole numbers")
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError("faces", found=f"shape {faces.shape}", expected="(faces, 3)")
    if len(faces) == 0:
        raise InputError("faces", found="none", expected="closed surfaces")
    if region_id.shape != (n_vertices,):
        raise InputError("region_id", found=f"shape {region_id.shape}", expected=f"({n_vertices},)")
    if faces.min() < 0 or faces.max() >= n_vertices:
        wrong = faces.min() if faces.min() < 0 else faces.max()
        raise InputError("faces", found=f"vertex {wrong}", expected=f"vertices 0..{n_vertices - 1}")
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


def _check_regions(region_id: np.ndarray) -> None:
    """Refuse numbers that are no region of the heart."""
    strange = np.setdiff1d(region_id, REGION_IDS)
    if len(strange):
        raise InputError("region_id", found=f"{strange[0]}", expected=f"regions {REGION_IDS[0]}..{REGION_IDS[-1]}")


def _check_size(points: np.ndarray) -> None:
    """Refuse shapes (n, V, 3) that cannot be in mm."""
    extent = float(np.ptp(points, axis=1).max())
    if not _SIZES_MM[0] <= extent <= _SIZES_MM[1]:
        found = f"shapes of up to {extent:.3g} across"
        raise InputError("points", found=found, expected=f"mm, {_SIZES_MM[0]:g} to {_SIZES_MM[1]:g} of a heart")


def _check_outward(points: np.ndarray, faces: np.ndarray, region_id: np.ndarray) -> None:
    """Refuse regions of shapes (n, V, 3) whose faces are clockwise seen from outside: nothing would lie inside."""
    for region in np.unique(region_id):
        own, own_faces = region_surface(points, faces, region_id, region)
        inside_out = [number for number, shape in enumerate(own) if signed_volume_mm3(shape, own_faces) <= 0]
        if inside_out:
            found = f"region {region} of shape {inside_out[0]} inside out"
            raise InputError("faces", found=found, expected="faces that are counter-clockwise seen from outside")


def region_surface(
    points: np.ndarray, faces: np.ndarray, region_id: np.ndarray, region: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (..., n, 3) of one region, and its faces (m, 3) numbered for them."""
    kept = np.asarray(region_id) == region
    number = np.cumsum(kept) - 1
    return points[..., kept, :], number[faces[kept[faces[:, 0]]]]


def label_pieces(faces: np.ndarray, n_vertices: int) -> np.ndarray:
    """Return the index (n_vertices,) of the connected component of each vertex, counted from 0."""
    edges = np.tile(faces[:, 0], 2), faces[:, 1:].T.ravel()
    graph = coo_array((np.ones(2 * len(faces)), edges), (n_vertices, n_vertices))
    return connected_components(graph, directed=False)[1]


def signed_volume_mm3(points_mm: np.ndarray, faces: np.ndarray) -> float:
    """Return the volume inside closed surfaces, as the sum of signed tetrahedra (divergence theorem)."""
    a, b, c = (points_mm[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6.0)
