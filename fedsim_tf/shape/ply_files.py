"""PLY files, with trimesh: vtk keeps no property but coordinates, and its reader crashes on files that are cut off."""

from __future__ import annotations

import io
import pathlib
import re
from typing import Any

import numpy as np
import trimesh
from trimesh.exchange import ply

from fedsim_tf.errors import InputError
from fedsim_tf.shape.meshes import TITLE, Mesh, MeshContent


def read_ply(path: pathlib.Path) -> MeshContent:
    """Return the content of a PLY file, ASCII or binary.

    Raises:
      InputError: a file without a whole header, or with other polygons than triangles.
      Exception: whatever trimesh raises for a damaged file.
    """
    data = path.read_bytes()
    if b"end_header" not in data:  # trimesh would look for it forever
        raise InputError(path, found="no PLY header", expected="a triangle mesh")
    found = ply.load_ply(io.BytesIO(data), fix_texture=False)
    elements = found["metadata"]["_ply_raw"]
    faces = np.asarray(found["faces"])
    if faces.shape != (elements["face"]["length"], 3):
        raise InputError(path, found="polygons with other than three corners", expected="triangles only")
    regions = [_read_property(elements[name], "region_id") for name in ("vertex", "face")]
    return MeshContent(found["vertices"], faces, *regions)


def _read_property(element: dict, name: str) -> np.ndarray | None:
    data = element["data"]
    names = data.keys() if isinstance(data, dict) else data.dtype.names
    return np.asarray(data[name]) if name in names else None


def write_ply(path: pathlib.Path, mesh: Mesh) -> None:
    """Write a surface as binary PLY with a vertex property `region_id`."""
    attributes: dict[str, Any] = {"region_id": mesh.region_id}
    surface = trimesh.Trimesh(mesh.points, mesh.faces, process=False, vertex_attributes=attributes)
    data = ply.export_ply(surface, vertex_normal=False, include_attributes=True)
    path.write_bytes(re.sub(rb"comment [^\n]*", b"comment " + TITLE, data, count=1))
