"""Triangle surfaces of the heart as files hold them, and what is checked in them."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import NamedTuple

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.regions import REGION_IDS

TITLE = b"fedsim_tf surface in mm, SPACE=LPS"  # 3D Slicer reads the space from here (vtkMRMLModelStorageNode)


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle surface.

    Attributes:
      points: (V, 3) float32 in mm, LPS.
      faces: (F, 3) int32.
      region_id: (V,) uint8, 1..7; 1 everywhere where the file names no regions.
    """

    points: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray


class MeshContent(NamedTuple):
    """The arrays of a mesh file before they are checked.

    Attributes:
      points: (V, 3) in the file's own axes.
      faces: (F, 3).
      vertex_region: `region_id` of each vertex, or None.
      face_region: `region_id` of each face, or None.
    """

    points: np.ndarray
    faces: np.ndarray
    vertex_region: np.ndarray | None = None
    face_region: np.ndarray | None = None


def region_of_vertices(path: pathlib.Path, content: MeshContent) -> np.ndarray:
    """Return the region (V,) of each vertex: its own, or that of its faces, or 1 where the file names none.

    Raises:
      InputError: faces of two regions share a vertex.
    """
    if content.vertex_region is not None:
        return np.asarray(content.vertex_region).reshape(len(content.points))
    region_id = np.ones(len(content.points))
    if content.face_region is not None:
        region_of_face = np.asarray(content.face_region).reshape(len(content.faces), 1)
        region_id[content.faces] = region_of_face
        if np.any(region_id[content.faces] != region_of_face):
            raise InputError(path, found="cells of two regions at one vertex", expected="no shared vertices")
    return region_id


def check_mesh(path: pathlib.Path, points: np.ndarray, *, faces: np.ndarray, region_id: np.ndarray) -> Mesh:
    """Return a mesh of arrays that fit together.

    Raises:
      InputError: arrays of wrong shapes or empty ones, coordinates that are not finite, faces with vertices that are
        not there, regions other than 1..7.
    """
    points, faces, region_id = np.asarray(points), np.asarray(faces), np.asarray(region_id)
    if points.ndim != 2 or points.shape[1:] != (3,) or not len(points):
        raise InputError(path, found=f"points of shape {points.shape}", expected="(V, 3), not empty")
    if not np.all(np.isfinite(points)):
        raise InputError(path, found="NaN or infinite coordinates", expected="finite coordinates in mm")
    if faces.ndim != 2 or faces.shape[1:] != (3,) or not len(faces):
        raise InputError(path, found=f"faces of shape {faces.shape}", expected="(F, 3), not empty")
    if faces.min() < 0 or faces.max() >= len(points):
        raise InputError(path, found=f"vertices {faces.min()}..{faces.max()}", expected=f"0..{len(points) - 1}")
    if region_id.shape != (len(points),):
        raise InputError(path, found=f"region_id of shape {region_id.shape}", expected=f"({len(points)},)")
    if not np.all(np.isin(region_id, REGION_IDS)):
        raise InputError(path, found=f"regions {np.unique(region_id)[:10]}", expected="regions 1..7")
    return Mesh(points.astype(np.float32), faces.astype(np.int32), region_id.astype(np.uint8))
