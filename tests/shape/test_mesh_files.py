import base64
import sys
import zlib

import numpy as np
import pytest
import trimesh
import vtk

from fedsim_tf.errors import InputError
from fedsim_tf.shape.mesh_export import export_model
from fedsim_tf.shape.mesh_files import read_mesh, write_mesh
from fedsim_tf.shape.mesh_folders import read_corresponding
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import region_surface
from tests.shape.shapes_for_tests import population, two_balls

ORDERED = (".vtk", ".vtu", ".ply")  # keep the order of points


@pytest.fixture(scope="module")
def model():
    return StatisticalShapeModel.fit(*population(), n_modes=2)


def legacy(body, *, kind="ASCII", version="3.0"):
    return f"# vtk DataFile Version {version}\n\n{kind}\n{body}".encode()


TETRAHEDRON = "POINTS 4 float\n0 0 0 1 0 0\n0 1 0\n0 0 1\n"
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
POLYGONS = "POLYGONS 4 16\n" + "".join(f"3 {a} {b} {c}\n" for a, b, c in FACES)


@pytest.mark.parametrize("suffix", [*ORDERED, ".PLY"])
def test_round_trip(tmp_path, suffix):
    points, faces, region_id = two_balls()
    path = tmp_path / f"heart{suffix}"
    write_mesh(path, points, faces, region_id)
    mesh = read_mesh(path)
    np.testing.assert_array_equal(mesh.points, points)
    np.testing.assert_array_equal(mesh.faces, faces)
    np.testing.assert_array_equal(mesh.region_id, region_id)
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_stl_is_merged_and_has_one_region(tmp_path):
    points, faces, region_id = two_balls()
    write_mesh(tmp_path / "a.stl", points, faces, region_id)
    mesh = read_mesh(tmp_path / "a.stl")
    assert mesh.points.shape == points.shape
    np.testing.assert_array_equal(mesh.points[mesh.faces], points[faces])
    assert np.all(mesh.region_id == 1)


def test_trimesh_reads_the_same_ply_and_stl(tmp_path):
    points, faces, region_id = two_balls()
    for suffix in (".ply", ".stl"):
        write_mesh(tmp_path / f"a{suffix}", points, faces, region_id)
        found = trimesh.load(tmp_path / f"a{suffix}", process=False)
        np.testing.assert_allclose(found.triangles, points[faces])
    raw = trimesh.load(tmp_path / "a.ply", process=False).metadata["_ply_raw"]["vertex"]["data"]["region_id"]
    np.testing.assert_array_equal(np.ravel(raw), region_id)


def test_files_of_trimesh_are_read(tmp_path):
    points, faces, _ = two_balls()
    mesh = trimesh.Trimesh(points, faces, process=False)
    mesh.export(tmp_path / "a.ply")
    mesh.export(tmp_path / "b.ply", encoding="ascii")
    mesh.export(tmp_path / "c.stl")
    mesh.export(tmp_path / "d.stl", file_type="stl_ascii")
    for path in sorted(tmp_path.iterdir()):
        found = read_mesh(path)
        np.testing.assert_allclose(found.points[found.faces], points[faces], atol=1e-5, err_msg=path.name)
        assert len(found.points) == len(points)


@pytest.mark.parametrize("suffix", [".vtk", ".ply", ".stl"])
def test_headers_say_lps_as_slicer_wants_it(tmp_path, suffix):
    write_mesh(tmp_path / f"a{suffix}", *two_balls())
    assert b"SPACE=LPS" in (tmp_path / f"a{suffix}").read_bytes()[:80]


def test_files_in_ras_are_turned(tmp_path):
    points, faces, region_id = two_balls()
    for suffix in (".vtk", ".ply", ".stl"):
        path = tmp_path / f"a{suffix}"
        write_mesh(path, points, faces, region_id)
        path.write_bytes(path.read_bytes().replace(b"SPACE=LPS", b"SPACE=RAS"))
        found = read_mesh(path)
        np.testing.assert_array_equal(found.points[found.faces], points[faces] * [-1, -1, 1])


def test_writing_is_repeatable(tmp_path):
    for suffix in (*ORDERED, ".stl"):
        for name in "ab":
            write_mesh(tmp_path / f"{name}{suffix}", *two_balls())
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("version", [None, 42, 51])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.int64])
def test_legacy_files_of_vtk_are_read(tmp_path, version, binary, dtype):
    """POLYDATA with normals, a field and metadata, as ParaView and Slicer write it."""
    from vtk.util.numpy_support import numpy_to_vtk

    points, faces, region_id = two_balls()
    data = polydata(points, faces)
    regions = numpy_to_vtk(region_id.astype(dtype), deep=True)
    regions.SetName("region_id")
    data.GetPointData().AddArray(regions)
    normals = vtk.vtkPolyDataNormals()
    normals.SplittingOff()
    normals.ConsistencyOff()
    normals.SetInputData(data)
    writer = vtk.vtkPolyDataWriter()
    writer.SetInputConnection(normals.GetOutputPort())
    writer.SetFileName(str(tmp_path / "a.vtk"))
    if version:
        writer.SetFileVersion(version)
    if binary:
        writer.SetFileTypeToBinary()
    writer.Write()
    mesh = read_mesh(tmp_path / "a.vtk")
    np.testing.assert_allclose(mesh.points, points, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(mesh.faces, faces)
    np.testing.assert_array_equal(mesh.region_id, region_id)


def polydata(points, faces):
    from vtk.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray

    data, corners, cells = vtk.vtkPolyData(), vtk.vtkPoints(), vtk.vtkCellArray()
    corners.SetData(numpy_to_vtk(points, deep=True))
    items = np.concatenate([np.full((len(faces), 1), 3), faces], axis=1).astype(np.int64)
    cells.SetCells(len(faces), numpy_to_vtkIdTypeArray(items.ravel(), deep=True))
    data.SetPoints(corners)
    data.SetPolys(cells)
    return data


def write_grid(path, points, cells, *, kind=vtk.VTK_TRIANGLE, of_cells=None):
    """An unstructured grid as VTK itself writes it, cell by cell."""
    from vtk.util.numpy_support import numpy_to_vtk

    grid, corners = vtk.vtkUnstructuredGrid(), vtk.vtkPoints()
    corners.SetData(numpy_to_vtk(points, deep=True))
    grid.SetPoints(corners)
    for cell in cells:
        grid.InsertNextCell(kind, len(cell), [int(number) for number in cell])
    if of_cells is not None:
        array = numpy_to_vtk(of_cells, deep=True)
        array.SetName("region_id")
        grid.GetCellData().AddArray(array)
    writer = vtk.vtkXMLUnstructuredGridWriter()
    writer.SetInputData(grid)
    writer.SetFileName(str(path))
    writer.Write()


def write_polygons(path, points, polygons, *, binary):
    """A PLY file of VTK's, with polygons of any number of corners."""
    data, cells = polydata(points, np.zeros((0, 3), int)), vtk.vtkCellArray()
    for polygon in polygons:
        cells.InsertNextCell(len(polygon), polygon)
    data.SetPolys(cells)
    writer = vtk.vtkPLYWriter()
    writer.SetInputData(data)
    writer.SetFileName(str(path))
    writer.SetFileType(vtk.VTK_BINARY if binary else vtk.VTK_ASCII)
    writer.Write()


@pytest.mark.parametrize("suffix", ORDERED)
def test_vtk_reads_what_is_written(tmp_path, suffix):
    from vtk.util.numpy_support import vtk_to_numpy

    points, faces, region_id = two_balls()
    vectors = {} if suffix == ".ply" else {"mode_01": 0.5 * points}
    write_mesh(tmp_path / f"a{suffix}", points, faces, region_id, vectors=vectors)
    reader = {".vtk": vtk.vtkPolyDataReader, ".vtu": vtk.vtkXMLUnstructuredGridReader, ".ply": vtk.vtkPLYReader}[
        suffix
    ]()
    reader.SetFileName(str(tmp_path / f"a{suffix}"))
    if suffix == ".vtk":
        reader.ReadAllScalarsOn()
        reader.ReadAllVectorsOn()
    reader.Update()
    found = reader.GetOutput()
    cells = found.GetPolys() if suffix != ".vtu" else found.GetCells()
    np.testing.assert_array_equal(vtk_to_numpy(found.GetPoints().GetData()), points)
    np.testing.assert_array_equal(vtk_to_numpy(cells.GetConnectivityArray()).reshape(-1, 3), faces)
    if suffix == ".ply":
        assert "SPACE=LPS" in reader.GetComments().GetValue(0)
        return  # VTK's PLY reader leaves unknown properties aside
    np.testing.assert_array_equal(vtk_to_numpy(found.GetPointData().GetArray("region_id")), region_id)
    np.testing.assert_allclose(vtk_to_numpy(found.GetPointData().GetArray("mode_01")), 0.5 * points)
    assert suffix == ".vtu" or "SPACE=LPS" in reader.GetHeader()


def test_unstructured_grids_and_regions_of_cells_are_read(tmp_path):
    cells = POLYGONS.replace("POLYGONS", "CELLS") + "CELL_TYPES 4\n5 5 5 5\n"
    regions = "CELL_DATA 4\nSCALARS region_id int\nLOOKUP_TABLE default\n6 6 6 6\n"
    (tmp_path / "a.vtk").write_bytes(legacy(f"DATASET UNSTRUCTURED_GRID\n{TETRAHEDRON}{cells}{regions}"))
    mesh = read_mesh(tmp_path / "a.vtk")
    np.testing.assert_array_equal(mesh.faces, FACES)
    np.testing.assert_array_equal(mesh.region_id, [6, 6, 6, 6])
    points, faces, region_id = two_balls()
    write_grid(tmp_path / "b.vtu", points, faces, of_cells=region_id[faces[:, 0]].astype(float))
    np.testing.assert_array_equal(read_mesh(tmp_path / "b.vtu").region_id, region_id)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (f"DATASET POLYDATA\n{TETRAHEDRON}", "no points or no polygons"),
        (f"DATASET POLYDATA\n{TETRAHEDRON}POLYGONS 1 5\n4 0 1 2 3\n", "triangles only"),
        (f"DATASET POLYDATA\n{TETRAHEDRON}{POLYGONS}LINES 1 3\n2 0 1\n", "found lines; expected triangles only"),
        (f"DATASET POLYDATA\n{TETRAHEDRON.replace('0 0 1', '0 0 nan')}{POLYGONS}", "NaN"),
        (
            f"DATASET POLYDATA\n{TETRAHEDRON}{POLYGONS.replace('3 1 2 3', '3 1 2 4')}",
            r"vertices 0\.\.4; expected 0\.\.3",
        ),
        (f"DATASET POLYDATA\n{TETRAHEDRON}{POLYGONS[:-8]}", "damaged.*[Ee]rror reading"),
        ("DATASET STRUCTURED_POINTS\nDIMENSIONS 2 2 2\n", "a VTK StructuredPoints"),
        ("DATASET POLYDATA\nPOINTS 0 float\nPOLYGONS 0 0\n", "damaged"),
        (
            f"DATASET POLYDATA\n{TETRAHEDRON}{POLYGONS}POINT_DATA 4\nSCALARS region_id int\nLOOKUP_TABLE d\n1 1 8 1",
            "1..7",
        ),
    ],
)
def test_unfit_legacy_files_are_refused(tmp_path, body, message):
    (tmp_path / "bad.vtk").write_bytes(legacy(body))
    with pytest.raises(InputError, match=message) as caught:
        read_mesh(tmp_path / "bad.vtk")
    assert str(caught.value).startswith(str(tmp_path / "bad.vtk"))


@pytest.mark.parametrize("suffix", [*ORDERED, ".stl"])
@pytest.mark.parametrize("kept", [0, 3, 60, 0.3, 0.97])
def test_cut_off_files_are_refused(tmp_path, capfd, suffix, kept):
    path = tmp_path / f"a{suffix}"
    write_mesh(path, *two_balls())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match=path.name):
        read_mesh(path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [*ORDERED, ".stl"])
def test_noise_is_refused(tmp_path, rng, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(rng.bytes(5000))
    with pytest.raises(InputError, match=r"damaged|header"):
        read_mesh(path)


def test_other_cells_and_suffixes_and_missing_files_are_refused(tmp_path):
    points, faces, region_id = two_balls()
    write_grid(tmp_path / "tetra.vtu", points, [[0, 1, 2, 3]], kind=vtk.VTK_TETRA)
    with pytest.raises(InputError, match="found tetra; expected triangles"):
        read_mesh(tmp_path / "tetra.vtu")
    write_grid(tmp_path / "quad.vtu", points, [[0, 1, 2, 3]], kind=vtk.VTK_QUAD)
    with pytest.raises(InputError, match="found quad; expected triangles"):
        read_mesh(tmp_path / "quad.vtu")
    for binary in (True, False):
        write_polygons(tmp_path / "quads.ply", points, [[0, 1, 2, 3]], binary=binary)
        with pytest.raises(InputError, match="other than three corners; expected triangles only"):
            read_mesh(tmp_path / "quads.ply")
        write_polygons(tmp_path / "mixed.ply", points, [*faces[:5].tolist(), [0, 1, 2, 3]], binary=binary)
        with pytest.raises(InputError, match=r"mixed\.ply"):
            read_mesh(tmp_path / "mixed.ply")
    with pytest.raises(InputError, match="no such file"):
        read_mesh(tmp_path / "none.ply")
    with pytest.raises(InputError, match=r"suffix '\.obj'"):
        write_mesh(tmp_path / "a.obj", points, faces, region_id)
    with pytest.raises(InputError, match="NaN"):
        write_mesh(tmp_path / "a.ply", np.full_like(points, np.nan), faces, region_id)
    with pytest.raises(InputError, match="vectors"):
        write_mesh(tmp_path / "a.ply", points, faces, region_id, vectors={"moved": points})
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.parametrize("suffix", ORDERED)
def test_corresponding_files_are_read_in_order(tmp_path, suffix):
    points, faces, region_id = population(n=3)
    for number in (2, 0, 1):
        write_mesh(tmp_path / f"heart_{number}{suffix}", points[number], faces, region_id)
    (tmp_path / f"._heart_0{suffix}").write_bytes(b"Mac OS X")
    (tmp_path / "notes.txt").write_text("hello")
    shapes = read_corresponding(tmp_path)
    np.testing.assert_array_equal(shapes.points, points)
    np.testing.assert_array_equal(shapes.faces, faces)
    np.testing.assert_array_equal(shapes.region_id, region_id)


def test_folders_with_a_file_for_each_region_are_read(tmp_path):
    """Regions come from the names: they are put together in the order of their ids, whatever that of the names."""
    points, faces, region_id = population(n=2)
    region_id = np.where(region_id == 1, 2, 5)
    for subject, shape in zip(("b", "a"), points, strict=True):
        for name, region in (("RV", 2), ("5", 5)):
            mesh = region_surface(shape, faces, region_id, region)
            write_mesh(tmp_path / subject / f"{name}.ply", *mesh, np.ones(len(mesh[0])))
        (tmp_path / subject / "._RV.ply").write_bytes(b"Mac OS X")
    (tmp_path / ".cache").mkdir()
    shapes = read_corresponding(tmp_path)
    np.testing.assert_array_equal(shapes.points, points[::-1])
    np.testing.assert_array_equal(shapes.faces, faces)
    np.testing.assert_array_equal(shapes.region_id, region_id)
    (tmp_path / "b" / "5.ply").rename(tmp_path / "b" / "ao.ply")
    with pytest.raises(InputError, match=r"b: found regions \[2, 6\]; expected \[2, 5\] as in a"):
        read_corresponding(tmp_path)
    (tmp_path / "b" / "ao.ply").rename(tmp_path / "b" / "2.ply")
    with pytest.raises(InputError, match="found region 2 again"):
        read_corresponding(tmp_path)
    (tmp_path / "b" / "2.ply").rename(tmp_path / "b" / "liver.ply")
    with pytest.raises(InputError, match="found region 'liver'"):
        read_corresponding(tmp_path)


def test_differing_subjects_are_refused_by_name(tmp_path):
    points, faces, region_id = population(n=2)
    write_mesh(tmp_path / "a.vtk", points[0], faces, region_id)
    with pytest.raises(InputError, match="1 subjects"):
        read_corresponding(tmp_path)
    turned = np.concatenate([faces[1:], faces[:1]])
    others = {
        "other faces": (points[1], turned, region_id),
        "other region_id": (points[1], faces, region_id[::-1]),
        r"regions \[1\]": (points[1], faces, np.ones_like(region_id)),
        "325 points; expected 324": (np.concatenate([points[1], points[1][:1]]), faces, np.append(region_id, 1)),
        "639 faces; expected 640": (points[1], faces[1:], region_id),
    }
    for message, mesh in others.items():
        write_mesh(tmp_path / "b.vtk", *mesh)
        with pytest.raises(InputError, match=f"b.vtk: found {message}"):
            read_corresponding(tmp_path)
    write_mesh(tmp_path / "c.stl", points[1], faces, region_id)
    with pytest.raises(InputError, match=r"c\.stl: found STL"):
        read_corresponding(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_corresponding(tmp_path / "none")


def test_exported_model(tmp_path, model):
    written = export_model(model, tmp_path)
    assert sorted(written) == sorted(tmp_path.iterdir())
    assert {path.name for path in written if path.suffix == ".vtk"} == {
        "mean.vtk",
        "mode_01_minus3sd.vtk",
        "mode_01_plus3sd.vtk",
        "mode_02_minus3sd.vtk",
        "mode_02_plus3sd.vtk",
        "mean_with_modes.vtk",
    }
    np.testing.assert_allclose(read_mesh(tmp_path / "mean.vtk").points, model.mean)
    found = read_mesh(tmp_path / "mode_02_minus3sd.vtk").points
    np.testing.assert_allclose(found, model.mean - 3 * model.std[1] * model.modes[1], atol=1e-5)


def test_an_export_removes_the_modes_of_a_larger_model(tmp_path, model):
    export_model(model, tmp_path)
    (tmp_path / "mine.txt").write_text("kept")
    written = export_model(StatisticalShapeModel.fit(*population(), n_modes=1), tmp_path)
    assert sorted(written) == sorted(path for path in tmp_path.iterdir() if path.name != "mine.txt")
    assert not list(tmp_path.glob("mode_02*"))


def test_mode_vectors_lead_from_the_mean_to_its_instances(tmp_path, model):
    export_model(model, tmp_path)
    data = (tmp_path / "mean_with_modes.vtk").read_bytes()  # its arrays are big-endian, "name components tuples type"
    heading = b"mode_02 3 %d float\n" % len(model.mean)
    start = data.index(heading) + len(heading)
    vectors = np.frombuffer(data, ">f4", model.mean.size, start).reshape(-1, 3)
    np.testing.assert_allclose(model.mean + 2 * vectors, model.instance(np.array([0, 2])), atol=1e-5)


@pytest.mark.parametrize("suffix", [".vtk", ".vtu", ".stl"])
def test_without_vtk_it_is_said_what_to_install(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    write_mesh(path, *two_balls())
    monkeypatch.setitem(sys.modules, "vtkmodules", None)
    with pytest.raises(InputError, match=r"vtk: found not installed; expected pip install 'fedsim-tf\[meshes\]'"):
        read_mesh(path)
    with pytest.raises(InputError, match="vtk: found not installed"):
        write_mesh(tmp_path / f"b{suffix}", *two_balls())
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_vtu_payload_is_what_the_format_says(tmp_path):
    """Coordinates decoded by hand: base64 block headers, then zlib."""
    points, faces, region_id = two_balls()
    write_mesh(tmp_path / "a.vtu", points, faces, region_id)
    text = (tmp_path / "a.vtu").read_text().split("<Points>")[1].split(">", 1)[1].split("<")[0].strip()
    n_blocks = int(np.frombuffer(base64.b64decode(text[:8])[:4], "<u4")[0])
    header = -(-4 * (3 + n_blocks) // 3) * 4
    payload, found = base64.b64decode(text[header:]), b""
    for _ in range(n_blocks):
        block = zlib.decompressobj()
        found += block.decompress(payload)
        payload = block.unused_data
    np.testing.assert_array_equal(np.frombuffer(found, "<f4").reshape(-1, 3), points)
