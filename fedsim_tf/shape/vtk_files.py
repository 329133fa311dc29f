"""Legacy VTK, VTU and STL files, read and written by vtk, which is an extra of the package and imported when needed."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.shape.meshes import TITLE, Mesh, MeshContent

_LEGACY_VERSION = 42  # 4.2: readers older than vtk 9 do not know version 5
_TRIANGLE = 5  # VTK's number of that cell type
_STL_HEADER_BYTES = 80


def need_vtk() -> None:
    """Refuse to go on where vtk is not installed.

    Raises:
      InputError: no vtk; it says how to install it.
    """
    if importlib.util.find_spec("vtkmodules") is None:
        raise InputError("vtk", found="not installed", expected="pip install 'fedsim-tf[meshes]', for mesh files")


def read_legacy_vtk(path: pathlib.Path) -> MeshContent:
    """Return the content of a legacy VTK file of any version, POLYDATA or UNSTRUCTURED_GRID.

    Raises:
      InputError: a damaged file, another kind of data, other cells than triangles, or no vtk.
    """
    need_vtk()
    from vtkmodules.vtkCommonDataModel import vtkPolyData, vtkUnstructuredGrid
    from vtkmodules.vtkIOLegacy import vtkGenericDataObjectReader

    reader = vtkGenericDataObjectReader()
    reader.ReadAllScalarsOn()
    reader.ReadAllFieldsOn()
    data = _read_with(reader, path)
    if isinstance(data, vtkUnstructuredGrid):
        return _grid_content(path, data)
    if not isinstance(data, vtkPolyData):
        found = "no data" if data is None else f"a VTK {data.GetClassName().removeprefix('vtk')}"
        raise InputError(path, found=found, expected="POLYDATA or UNSTRUCTURED_GRID")
    return _polydata_content(path, data)


def read_vtu(path: pathlib.Path) -> MeshContent:
    """Return the content of a VTU file.

    Raises:
      InputError: a damaged file, other cells than triangles, or no vtk.
    """
    need_vtk()
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridReader

    return _grid_content(path, _read_with(vtkXMLUnstructuredGridReader(), path))


def read_stl(path: pathlib.Path) -> MeshContent:
    """Return the content of an STL file, ASCII or binary, with identical points merged.

    Raises:
      InputError: a damaged file, or no vtk.
    """
    need_vtk()
    from vtkmodules.vtkIOGeometry import vtkSTLReader

    return _polydata_content(path, _read_with(vtkSTLReader(), path))


def write_legacy_vtk(path: pathlib.Path, mesh: Mesh, vectors: Mapping[str, np.ndarray]) -> None:
    """Write a surface as binary POLYDATA with scalars `region_id` and further point vectors (V, 3)."""
    need_vtk()
    from vtkmodules.vtkIOLegacy import vtkPolyDataWriter

    writer = vtkPolyDataWriter()
    writer.SetFileVersion(_LEGACY_VERSION)
    writer.SetFileTypeToBinary()
    writer.SetHeader(TITLE.decode())
    _write_with(writer, path, _to_polydata(mesh, vectors))


def write_vtu(path: pathlib.Path, mesh: Mesh, vectors: Mapping[str, np.ndarray]) -> None:
    """Write a surface as VTU with point data `region_id` and further point vectors (V, 3)."""
    need_vtk()
    from vtkmodules.vtkCommonDataModel import vtkUnstructuredGrid
    from vtkmodules.vtkIOXML import vtkXMLUnstructuredGridWriter

    surface, grid = _to_polydata(mesh, vectors), vtkUnstructuredGrid()
    grid.SetPoints(surface.GetPoints())
    grid.SetCells(_TRIANGLE, surface.GetPolys())
    grid.GetPointData().ShallowCopy(surface.GetPointData())
    writer = vtkXMLUnstructuredGridWriter()
    writer.SetDataModeToBinary()
    _write_with(writer, path, grid)


def write_stl(path: pathlib.Path, mesh: Mesh) -> None:
    """Write a surface as binary STL, which holds no regions."""
    need_vtk()
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkIOGeometry import vtkSTLWriter

    writer = vtkSTLWriter()
    writer.SetFileTypeToBinary()
    header = np.frombuffer(TITLE.ljust(_STL_HEADER_BYTES), np.uint8)
    writer.SetBinaryHeader(numpy_to_vtk(header, deep=True))
    _write_with(writer, path, _to_polydata(mesh, {}))


def _read_with(reader: Any, path: pathlib.Path) -> Any:
    """Return what a reader makes of a file; an error that vtk would print is raised."""
    reader.SetFileName(str(path))
    with _collect_messages() as messages:
        reader.Update()
    if errors := _errors(messages):
        raise InputError(path, found=f"a damaged or foreign file ({errors[0]})", expected="a triangle mesh")
    return reader.GetOutput()


def _write_with(writer: Any, path: pathlib.Path, data: Any) -> None:
    writer.SetFileName(str(path))
    writer.SetInputData(data)
    with _collect_messages() as messages:
        written = writer.Write()
    if not written or writer.GetErrorCode():
        raise OSError(errno.EIO, "; ".join(_errors(messages)) or "vtk could not write it")


def _errors(messages: Any) -> list[str]:
    """Return the text of each error, without the place in vtk's sources, of messages with warnings among them."""
    return re.findall(r"ERROR: In [^\n]*\n.*?\): ([^\n]*)", messages.GetOutput() or "")


@contextlib.contextmanager
def _collect_messages() -> Iterator[Any]:
    """Collect what vtk would print to the terminal; the parts of a reader report errors nowhere else."""
    from vtkmodules.vtkCommonCore import vtkLogger, vtkOutputWindow, vtkStringOutputWindow

    before, messages = vtkOutputWindow.GetInstance(), vtkStringOutputWindow()
    verbosity = vtkLogger.GetCurrentVerbosityCutoff()
    vtkOutputWindow.SetInstance(messages)
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
    try:
        yield messages
    finally:
        vtkLogger.SetStderrVerbosity(verbosity)
        vtkOutputWindow.SetInstance(before)


def _polydata_content(path: pathlib.Path, data: Any) -> MeshContent:
    others = {"vertices": data.GetVerts(), "lines": data.GetLines(), "strips": data.GetStrips()}
    found = [name for name, cells in others.items() if cells.GetNumberOfCells()]
    if found:
        raise InputError(path, found=", ".join(found), expected="triangles only")
    return _content(path, data, data.GetPolys())


def _grid_content(path: pathlib.Path, data: Any) -> MeshContent:
    from vtkmodules.vtkCommonDataModel import vtkCellTypes

    kinds = {data.GetCellType(cell) for cell in range(data.GetNumberOfCells())}
    others = sorted(kinds - {_TRIANGLE})
    if others or not kinds:
        names = [vtkCellTypes.GetClassNameFromTypeId(kind).removeprefix("vtk").lower() for kind in others]
        raise InputError(path, found=", ".join(names) or "no cells", expected="triangles only")
    return _content(path, data, data.GetCells())


def _content(path: pathlib.Path, data: Any, cells: Any) -> MeshContent:
    from vtkmodules.util.numpy_support import vtk_to_numpy

    if data.GetPoints() is None or not cells.GetNumberOfCells():
        raise InputError(path, found="no points or no polygons", expected="a triangle mesh")
    if cells.IsHomogeneous() != 3:
        raise InputError(path, found="polygons with other than three corners", expected="triangles only")
    arrays = [attributes.GetArray("region_id") for attributes in (data.GetPointData(), data.GetCellData())]
    return MeshContent(
        vtk_to_numpy(data.GetPoints().GetData()),
        vtk_to_numpy(cells.GetConnectivityArray()).reshape(-1, 3),
        *(None if array is None else vtk_to_numpy(array) for array in arrays),
    )


def _to_polydata(mesh: Mesh, vectors: Mapping[str, np.ndarray]) -> Any:
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray
    from vtkmodules.vtkCommonCore import vtkPoints
    from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

    points, cells, surface = vtkPoints(), vtkCellArray(), vtkPolyData()
    points.SetData(numpy_to_vtk(mesh.points, deep=True))
    cells.SetData(3, numpy_to_vtkIdTypeArray(mesh.faces.astype(np.int64).ravel(), deep=True))
    surface.SetPoints(points)
    surface.SetPolys(cells)
    regions = numpy_to_vtk(mesh.region_id, deep=True)
    regions.SetName("region_id")
    surface.GetPointData().SetScalars(regions)
    for name, values in vectors.items():
        array = numpy_to_vtk(values, deep=True)
        array.SetName(name)
        surface.GetPointData().AddArray(array)
    return surface
