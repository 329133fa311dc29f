"""Surfaces in mesh files (legacy VTK, VTU, PLY, STL): in mm and LPS, with the region of each vertex as `region_id`.

Legacy VTK is read and written here, as meshio 5.3 knows no POLYDATA, which Slicer and ParaView write for surfaces, and
reads the int and unsigned_char arrays of version 5.1 wrongly or not at all; nor does it read every ASCII STL. VTU and
PLY go through meshio.

3D Slicer reads "SPACE=LPS" from the title of legacy VTK and STL and from a comment of PLY (vtkMRMLModelStorageNode).
In VTU it looks for a string array, which meshio does not write; Slicer takes files without one as LPS too.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence

import meshio
import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.files import replaced
from fedsim_tf.regions import MESH_NAMES, REGION_IDS
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes

SUFFIXES = (".vtk", ".vtu", ".ply", ".stl")
_TITLE = b"fedsim_tf surface in mm, SPACE=LPS"
_TRIANGLE = 5  # VTK's number of that cell type
_VTK_TYPES = {
    "char": "i1",
    "signed_char": "i1",
    "unsigned_char": "u1",
    "short": "i2",
    "unsigned_short": "u2",
    "int": "i4",
    "vtkidtype": "i4",
    "unsigned_int": "u4",
    "long": "i8",
    "vtktypeint64": "i8",
    "unsigned_long": "u8",
    "vtktypeuint64": "u8",
    "float": "f4",
    "double": "f8",
}
_STL_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_VTK_COMPONENTS = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9}


@dataclasses.dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle surface.

    Attributes:
      points: (V, 3) float32 in mm.
      faces: (F, 3) int32.
      region_id: (V,) uint8, 1..7; 1 everywhere where the file names no regions.
    """

    points: np.ndarray
    faces: np.ndarray
    region_id: np.ndarray


def read_mesh(path: str | os.PathLike) -> Mesh:
    """Reads a triangle surface; its format is known by its suffix.

    Regions come from point data `region_id`, or from cell data of that name. In STL, which stores each triangle by
    itself, identical points become one. Coordinates are LPS; where the header says SPACE=RAS, they are turned.

    Raises:
      InputError: no such file, an unknown suffix, a damaged or empty file, other cells than triangles, coordinates
        that are not finite, regions other than 1..7.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    if not path.is_file():
        raise InputError(path, found="no such file", expected=f"a mesh: {', '.join(SUFFIXES)}")
    try:
        points, faces, region_id = _READERS[path.suffix.lower()](path)
    except InputError:
        raise
    except Exception as error:  # damaged files raise a dozen different types
        raise InputError(path, found=f"a damaged or foreign file ({error!r})", expected="a triangle mesh") from error
    return _checked(path, _to_lps(path, points), faces, region_id)


def read_corresponding(folder: str | os.PathLike) -> CorrespondingShapes:
    """Reads meshes in point correspondence, one subject each, sorted by name.

    Two layouts: a mesh for each subject (`subject01.vtk`), or a folder for each subject with a mesh for each region,
    named by its number or short name (`subject01/lv.ply`, `subject01/5.ply`). Hidden files are skipped.

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
        _check_same(subject, mesh, subjects[0], meshes[0])
    points, names = np.stack([mesh.points for mesh in meshes]), tuple(subject.stem for subject in subjects)
    return CorrespondingShapes(points, meshes[0].faces, meshes[0].region_id, names)


def write_mesh(
    path: str | os.PathLike,
    points: np.ndarray,
    faces: np.ndarray,
    region_id: np.ndarray,
    *,
    vectors: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Writes a triangle surface atomically, in the format of its suffix.

    Args:
      path: .vtk (legacy, binary POLYDATA), .vtu, .ply or .stl (binary; regions are lost).
      points: (V, 3) in mm, LPS.
      faces: (F, 3).
      region_id: (V,), 1..7.
      vectors: name to point vectors (V, 3), in .vtk and .vtu only.

    Raises:
      InputError: an unknown suffix, arrays that do not fit together, vectors in a format without them.
    """
    path = pathlib.Path(path)
    _check_suffix(path)
    suffix, vectors = path.suffix.lower(), dict(vectors or {})
    if vectors and suffix not in (".vtk", ".vtu"):
        raise InputError(path, found=f"vectors in {suffix}", expected="vectors in .vtk or .vtu only")
    mesh = _checked(path, points, faces, region_id)
    fields = {name: np.asarray(values, np.float32) for name, values in vectors.items()}
    for name, values in fields.items():
        if values.shape != mesh.points.shape:
            raise InputError(f"vectors {name}", found=f"shape {values.shape}", expected=str(mesh.points.shape))
    with replaced(path) as temporary:
        _WRITERS[suffix](temporary, mesh, fields)


def export_model(
    model: StatisticalShapeModel,
    folder: str | os.PathLike,
    *,
    suffixes: Sequence[str] = (".vtk", ".stl"),
    deviations: Sequence[float] = (-3, 3),
) -> list[pathlib.Path]:
    """Writes the mean, each mode at the given standard deviations, and the mean with the modes as vectors.

    `mean_with_modes.vtk` has point vectors `mode_01`.. in mm for one standard deviation: ParaView's Warp By Vector
    shows any multiple of them. Modes that an earlier export to the folder had, and the model has not, are removed.

    Returns:
      The files: mean.vtk, mode_01_minus3sd.vtk, mode_01_plus3sd.vtk, ... in every format, mean_with_modes.vtk last.
    """
    folder = pathlib.Path(folder)
    shapes = {"mean": model.mean}
    for mode in range(model.n_modes):
        for deviation in deviations:
            side = "minus" if deviation < 0 else "plus"
            weights = deviation * np.eye(model.n_modes)[mode]
            shapes[f"mode_{mode + 1:02d}_{side}{abs(deviation):g}sd"] = model.instance(weights)
    written = _write_all(model, folder, shapes, suffixes)
    moved = {f"mode_{k + 1:02d}": model.modes[k] * model.std[k] for k in range(model.n_modes)}
    last = folder / "mean_with_modes.vtk"
    write_mesh(last, model.mean, model.faces, model.region_id, vectors=moved)
    for earlier in set(folder.glob("mode_*sd.*")) - set(written):
        earlier.unlink()
    return [*written, last]


def export_instances(
    model: StatisticalShapeModel,
    weights: np.ndarray,
    folder: str | os.PathLike,
    *,
    suffixes: Sequence[str] = (".vtk", ".stl"),
) -> list[pathlib.Path]:
    """Writes the shapes of weights (n, K), in standard deviations, as instance_001.vtk, ...; returns the files."""
    weights = np.atleast_2d(weights)
    shapes = {f"instance_{k + 1:03d}": points for k, points in enumerate(model.instance(weights))}
    return _write_all(model, pathlib.Path(folder), shapes, suffixes)


def _write_all(
    model: StatisticalShapeModel, folder: pathlib.Path, shapes: Mapping[str, np.ndarray], suffixes: Sequence[str]
) -> list[pathlib.Path]:
    written = []
    for name, points in shapes.items():
        for suffix in suffixes:
            written.append(folder / f"{name}{suffix}")
            write_mesh(written[-1], points, model.faces, model.region_id)
    return written


def _check_suffix(path: pathlib.Path) -> None:
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(path, found=f"suffix {path.suffix!r}", expected=f"one of {', '.join(SUFFIXES)}")


def _checked(path: pathlib.Path, points: np.ndarray, faces: np.ndarray, region_id: np.ndarray) -> Mesh:
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


# Folders of meshes


def _visible(folder: pathlib.Path) -> list[pathlib.Path]:
    """Sorted by name, without hidden ones; macOS puts `._name` beside each file on foreign disks."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _mesh_files(folder: pathlib.Path) -> list[pathlib.Path]:
    files = [child for child in _visible(folder) if child.is_file() and child.suffix.lower() in SUFFIXES]
    for file in files:
        if file.suffix.lower() == ".stl":
            raise InputError(file, found="STL, which loses the order of points", expected=".vtk, .vtu or .ply")
    return files


def _read_subject_folder(folder: pathlib.Path) -> Mesh:
    """One mesh out of those of the regions, in the order of region ids."""
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


def _check_same(path: pathlib.Path, mesh: Mesh, reference: pathlib.Path, expected: Mesh) -> None:
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


# Formats


def _to_lps(path: pathlib.Path, points: np.ndarray) -> np.ndarray:
    """Slicer wrote RAS before 2020, and says so in the header."""
    with open(path, "rb") as file:
        is_ras = b"SPACE=RAS" in file.read(400)
    return points * np.array([-1, -1, 1]) if is_ras else points


def _regions(
    path: pathlib.Path,
    faces: np.ndarray,
    n_points: int,
    point_data: Mapping[str, np.ndarray],
    cell_data: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Region of each vertex: its own, or that of its cells, or 1."""
    if "region_id" in point_data:
        return np.asarray(point_data["region_id"]).reshape(n_points)
    region_id = np.ones(n_points)
    if "region_id" in cell_data:
        of_face = np.asarray(cell_data["region_id"]).reshape(len(faces), 1)
        region_id[faces] = of_face
        if np.any(region_id[faces] != of_face):
            raise InputError(path, found="cells of two regions at one vertex", expected="no shared vertices")
    return region_id


def _read_with_meshio(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # meshio.read would print the reason and end the process; the formats' own readers raise it.
    is_ply = path.suffix.lower() == ".ply"
    if is_ply and b"end_header" not in path.read_bytes():  # for which meshio would look forever
        raise InputError(path, found="no PLY header", expected="a triangle mesh")
    mesh = (meshio.ply.read if is_ply else meshio.vtu.read)(str(path))
    others = sorted({block.type for block in mesh.cells} - {"triangle"})
    if others or not mesh.cells:
        raise InputError(path, found=", ".join(others) or "no cells", expected="triangles only")
    faces = np.concatenate([block.data for block in mesh.cells]).astype(np.int64)
    cell_data = {name: np.concatenate(blocks) for name, blocks in mesh.cell_data.items() if name == "region_id"}
    return mesh.points, faces, _regions(path, faces, len(mesh.points), mesh.point_data, cell_data)


def _read_stl(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    if len(data) == 84 + 50 * count:  # some binary files start with "solid", too
        corners = np.frombuffer(data, _STL_TRIANGLE, count, 84)["corners"].reshape(-1, 3)
    elif data.lstrip().startswith(b"solid") and b"endsolid" in data:
        corners = np.array(re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", data)).astype(float).reshape(-1, 3)
    else:
        raise InputError(path, found="neither whole binary nor ASCII STL", expected="a triangle mesh")
    points, number = np.unique(corners, axis=0, return_inverse=True)
    return points, number.reshape(-1, 3), np.ones(len(points))


def _read_vtk(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A legacy file of any version ("VTK File Formats", Kitware), POLYDATA or UNSTRUCTURED_GRID."""
    file = _LegacyVtk(path)
    if file.points is None or file.faces is None:
        raise InputError(path, found="no points or no polygons", expected="a triangle mesh")
    point_data, cell_data = file.data["POINT_DATA"], file.data["CELL_DATA"]
    return file.points, file.faces, _regions(path, file.faces, len(file.points), point_data, cell_data)


class _LegacyVtk:
    """What a legacy VTK file holds: points, faces and the named arrays of POINT_DATA and CELL_DATA."""

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.points: np.ndarray | None = None
        self.faces: np.ndarray | None = None
        self.data: dict[str, dict[str, np.ndarray]] = {"POINT_DATA": {}, "CELL_DATA": {}, "other": {}}
        self._bytes, self._at = path.read_bytes(), 0
        version = re.fullmatch(r"# vtk DataFile Version (\d+)\.\d+", self._raw_line())
        if not version:
            raise InputError(path, found="no VTK header", expected="# vtk DataFile Version ...")
        self._major = int(version[1])
        self._raw_line()  # the title may be empty
        self._ascii = self._words()[0].upper() == "ASCII"
        self._into, self._count = self.data["other"], 0
        while words := self._words():
            self._section(words[0].upper(), words[1:])

    def _section(self, key: str, words: list[str]) -> None:
        if key == "DATASET":
            if words[0].upper() not in ("POLYDATA", "UNSTRUCTURED_GRID"):
                raise InputError(self.path, found=f"a VTK {words[0]}", expected="POLYDATA or UNSTRUCTURED_GRID")
        elif key == "POINTS":
            self.points = self._array(words[1], 3 * int(words[0])).reshape(-1, 3)
        elif key in ("POLYGONS", "CELLS"):
            self.faces = self._triangles(int(words[0]), int(words[1]))
        elif key == "CELL_TYPES":
            if np.any(self._array("int", int(words[0])) != _TRIANGLE):
                raise InputError(self.path, found="other cells", expected="triangles only")
        elif key in ("POINT_DATA", "CELL_DATA"):
            self._into, self._count = self.data[key], int(words[0])
        elif key == "METADATA":
            self._at = self._bytes.index(b"\n\n", self._at)
        else:
            self._attribute(key, words)

    def _attribute(self, key: str, words: list[str]) -> None:
        if key == "SCALARS":
            self._words()  # LOOKUP_TABLE name
            components = int(words[2]) if len(words) > 2 else 1
            self._into[words[0]] = self._array(words[1], components * self._count)
        elif key == "LOOKUP_TABLE":
            self._array("unsigned_char", 4 * int(words[1]))
        elif key in _VTK_COMPONENTS:
            self._into[words[0]] = self._array(words[1], _VTK_COMPONENTS[key] * self._count)
        elif key == "FIELD":
            for _ in range(int(words[1])):
                self._field()
        else:
            raise InputError(self.path, found=f"section {key[:40]!r}", expected="a triangle mesh with its data")

    def _field(self) -> None:
        words = self._words()
        if words[0] == "METADATA":
            self._section("METADATA", [])
            words = self._words()
        name, components, tuples, kind = words
        self._into[name] = self._array(kind, int(components) * int(tuples))

    def _triangles(self, first: int, second: int) -> np.ndarray:
        """Faces (F, 3) of a section's two numbers: offsets and their points from version 5 on, or cells and items."""
        if self._major >= 5:
            offsets = self._array(self._words()[1], first)
            connectivity = self._array(self._words()[1], second)
            fits = np.array_equal(offsets, 3 * np.arange(first))
        else:
            items = self._array("int", second)
            fits = second == 4 * first and bool(np.all(items[::4] == 3))
            connectivity = items.reshape(-1, 4)[:, 1:] if fits else items
        if not fits:
            raise InputError(self.path, found="polygons with other than three corners", expected="triangles only")
        return connectivity.reshape(-1, 3).astype(np.int64)

    def _array(self, kind: str, count: int) -> np.ndarray:
        kind = _VTK_TYPES[kind.lower()]
        if not self._ascii:
            found = np.frombuffer(self._bytes, ">" + kind, count, self._at)  # binary files are big-endian
            self._at += found.nbytes
            return found
        values = self._bytes[self._at :].split(None, count)
        if len(values) < count:
            raise InputError(self.path, found=f"{len(values)} values", expected=f"{count}: the file is cut off")
        self._at = len(self._bytes) - (len(values[count]) if len(values) > count else 0)
        return np.array(values[:count]).astype(float)

    def _raw_line(self) -> str:
        end = self._bytes.find(b"\n", self._at)
        end = len(self._bytes) if end < 0 else end
        line = self._bytes[self._at : end].decode("utf-8", "replace").strip()
        self._at = end + 1
        return line

    def _words(self) -> list[str]:
        """The next line that is not empty; nothing at the end."""
        while self._at < len(self._bytes):
            words = self._raw_line().split()
            if words:
                return words
        return []


_READERS = {".vtk": _read_vtk, ".vtu": _read_with_meshio, ".ply": _read_with_meshio, ".stl": _read_stl}


def _write_vtk(path: pathlib.Path, mesh: Mesh, vectors: Mapping[str, np.ndarray]) -> None:
    corners = np.concatenate([np.full((len(mesh.faces), 1), 3), mesh.faces], axis=1)
    n_points, n_faces = len(mesh.points), len(mesh.faces)
    parts = [
        b"# vtk DataFile Version 3.0\n" + _TITLE + b"\nBINARY\nDATASET POLYDATA",
        b"POINTS %d float" % n_points,
        mesh.points.astype(">f4").tobytes(),
        b"POLYGONS %d %d" % (n_faces, 4 * n_faces),
        corners.astype(">i4").tobytes(),
        b"POINT_DATA %d\nSCALARS region_id unsigned_char 1\nLOOKUP_TABLE default" % n_points,
        mesh.region_id.tobytes(),
    ]
    for name, values in vectors.items():
        parts += [b"VECTORS %s float" % name.encode(), values.astype(">f4").tobytes()]
    path.write_bytes(b"\n".join(parts) + b"\n")


def _as_meshio(mesh: Mesh, **point_data: np.ndarray) -> meshio.Mesh:
    return meshio.Mesh(mesh.points, [("triangle", mesh.faces)], point_data=point_data)


def _write_vtu(path: pathlib.Path, mesh: Mesh, vectors: Mapping[str, np.ndarray]) -> None:
    meshio.vtu.write(str(path), _as_meshio(mesh, region_id=mesh.region_id, **vectors))


def _write_ply(path: pathlib.Path, mesh: Mesh, _: Mapping[str, np.ndarray]) -> None:
    meshio.ply.write(str(path), _as_meshio(mesh, region_id=mesh.region_id))
    # meshio's own comment holds the time, too: without it the same surface gives the same file.
    path.write_bytes(re.sub(rb"comment [^\n]*", b"comment " + _TITLE, path.read_bytes(), count=1))


def _write_stl(path: pathlib.Path, mesh: Mesh, _: Mapping[str, np.ndarray]) -> None:
    triangles = np.zeros(len(mesh.faces), _STL_TRIANGLE)
    triangles["corners"] = corners = mesh.points[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    triangles["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    path.write_bytes(_TITLE.ljust(80) + len(triangles).to_bytes(4, "little") + triangles.tobytes())


_WRITERS: dict[str, Callable[[pathlib.Path, Mesh, Mapping[str, np.ndarray]], None]] = {
    ".vtk": _write_vtk,
    ".vtu": _write_vtu,
    ".ply": _write_ply,
    ".stl": _write_stl,
}
