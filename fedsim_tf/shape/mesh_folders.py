"""Folders of meshes in point correspondence, one subject each."""

from __future__ import annotations

import os
import pathlib
import re

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.regions import MESH_NAMES
from fedsim_tf.shape.mesh_files import SUFFIXES, read_mesh
from fedsim_tf.shape.meshes import Mesh
from fedsim_tf.shape.surfaces import CorrespondingShapes


def read_corresponding(folder: str | os.PathLike) -> CorrespondingShapes:
    """Return the shapes of a folder of meshes in point correspondence, one subject each, sorted by name.

    There are two layouts: a mesh for each subject (`subject01.vtk`), or a folder for each subject with a mesh for each
    region, named by its number or short name (`subject01/lv.ply`, `subject01/5.ply`). Hidden files are skipped.

    Raises:
      InputError: fewer than two subjects; subjects that differ in points, faces or regions; STL, which does not keep
        the order of points.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(folder, found="no such folder", expected="a folder with one mesh for each subject")
    files = _mesh_files(folder)
    subjects = files or [child for child in _visible(folder) if child.is_dir() and _mesh_files(child)]
    if len(subjects) < 2:
        raise InputError(folder, found=f"{len(subjects)} subjects", expected="at least two meshes or subject folders")
    read = read_mesh if files else _read_subject_folder
    meshes = [read(subject) for subject in subjects]
    for subject, mesh in zip(subjects[1:], meshes[1:], strict=True):
        _check_same(subject, mesh, reference=subjects[0], expected=meshes[0])
    points, names = np.stack([mesh.points for mesh in meshes]), tuple(subject.stem for subject in subjects)
    return CorrespondingShapes(points, meshes[0].faces, meshes[0].region_id, names)


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """Return what is not hidden, sorted by name; macOS puts `._name` beside each file on foreign disks."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _mesh_files(folder: pathlib.Path) -> list[pathlib.Path]:
    files = [child for child in _visible(folder) if child.is_file() and child.suffix.lower() in SUFFIXES]
    for file in files:
        if file.suffix.lower() == ".stl":
            raise InputError(file, found="STL, which loses the order of points", expected=".vtk, .vtu or .ply")
    return files


def _read_subject_folder(folder: pathlib.Path) -> Mesh:
    """Return one mesh of the regions' meshes, in the order of region ids."""
    parts: dict[int, pathlib.Path] = {}
    for file in _mesh_files(folder):
        region = MESH_NAMES.get(file.stem.lower()) or (int(file.stem) if re.fullmatch("[1-7]", file.stem) else None)
        if region is None:
            raise InputError(file, found=f"region {file.stem!r}", expected=f"1..7 or one of {list(MESH_NAMES)}")
        if region in parts:
            raise InputError(file, found=f"region {region} again", expected=f"only {parts[region].name}")
        parts[region] = file
    regions = sorted(parts)
    meshes = [read_mesh(parts[region]) for region in regions]
    counts = [len(mesh.points) for mesh in meshes]
    first = np.cumsum([0, *counts[:-1]])
    return Mesh(
        np.concatenate([mesh.points for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=True)]).astype(np.int32),
        np.repeat(regions, counts).astype(np.uint8),
    )


def _check_same(path: pathlib.Path, mesh: Mesh, *, reference: pathlib.Path, expected: Mesh) -> None:
    regions, wanted = np.unique(mesh.region_id).tolist(), np.unique(expected.region_id).tolist()
    if regions != wanted:
        raise InputError(path, found=f"regions {regions}", expected=f"{wanted} as in {reference.name}")
    for what in ("points", "faces"):
        found, count = len(getattr(mesh, what)), len(getattr(expected, what))
        if found != count:
            raise InputError(path, found=f"{found} {what}", expected=f"{count} as in {reference.name}")
    for what in ("faces", "region_id"):
        if not np.array_equal(getattr(mesh, what), getattr(expected, what)):
            raise InputError(path, found=f"other {what}", expected=f"the same {what} as in {reference.name}")
