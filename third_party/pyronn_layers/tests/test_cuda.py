"""The CUDA kernels' arithmetic on the CPU, against the CPU's kernels; and, where they are built, their registration."""

import importlib.util
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

import pyronn_layers

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = ["cone_geometry", "cone_beam", "planar_geometry", "planar_beam", "kernels", "kernels_portable"]
SOURCES += ["cuda/device_geometry", "cuda/emulate", "cuda/planar_device_geometry", "cuda/planar_emulate"]
FLAGS = ["-std=c++17", "-O1", "-fno-math-errno", "-fPIC", "-fvisibility=hidden", "-pthread", "-Wno-psabi"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for its dataclasses
    spec.loader.exec_module(module)
    return module


cuda_check = load("cuda_check")
SCANS = [*cuda_check.small_scans(), *cuda_check.planar_scans()]
scans = pytest.mark.parametrize("scan", SCANS, ids=[scan.name for scan in SCANS])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if shutil.which("g++") is None:
        pytest.skip("no g++ to build the emulation with")
    path = tmp_path_factory.mktemp("emulation") / "libemulation.so"
    sources = [str(ROOT / "src" / f"{name}.cc") for name in SOURCES]
    subprocess.run(["g++", *FLAGS, f"-I{ROOT / 'src'}", "-shared", *sources, "-o", str(path)], check=True)
    return cuda_check.Library(path)


@scans
def test_device_functions_agree_with_the_cpu(library, scan):
    for operator, found in cuda_check.compare(library, library.emulate, scan).items():
        assert found.rms < 1e-5, operator


@scans
@pytest.mark.parametrize("operator", ["projection", "backprojection"])
def test_device_functions_are_transposes(library, scan, operator):
    assert cuda_check.asymmetry(library.emulate, scan, operator) < 1e-6


def test_projection_of_a_uniform_box_gives_chords(library):
    scan = cuda_check.circular("box", (9, 8, 7), (2.0, 3.0, 4.0), (1, 1), (2.0, 2.0), 3, first=0.0, batch=1)
    found = library.emulate("projection", scan, np.ones(scan.input_shape("projection"), np.float32))
    angles = 2 * np.pi * np.arange(3) / 3
    expected = np.minimum(28 / np.maximum(np.abs(np.cos(angles)), 1e-9), 24 / np.maximum(np.abs(np.sin(angles)), 1e-9))
    np.testing.assert_allclose(found[0, :, 0, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("operator", cuda_check.OPERATORS)
@pytest.mark.parametrize("scan", cuda_check.planar_scans()[:2] + cuda_check.planar_scans()[-2:], ids=lambda s: s.name)
def test_threads_do_not_change_a_planar_result_by_a_bit(library, scan, operator):
    values = cuda_check.inputs(scan, operator)
    one = library.cpu(operator, scan, values, threads=1)
    for threads in (2, 5):
        np.testing.assert_array_equal(library.cpu(operator, scan, values, threads=threads), one)


def test_check_says_what_is_missing(library, tmp_path, capsys):
    assert cuda_check.main(["--library", str(tmp_path / "none.so")]) == 2
    assert "no such file" in capsys.readouterr().out
    assert cuda_check.main(["--library", library.c._name]) == 2
    assert "no CUDA device" in capsys.readouterr().out


def test_check_fails_a_result_that_differs(library, capsys):
    def wrong(operator, scan, values):
        return library.emulate(operator, scan, values) * np.float32(1.001)

    assert cuda_check.check(library, library.emulate, SCANS[:1])
    assert not cuda_check.check(library, wrong, SCANS[:1])
    assert "FAILED" in capsys.readouterr().out


def test_tensorflow_has_the_gpu_kernels():
    built = pathlib.Path(pyronn_layers.__file__).parent / "libpyronn_cone_cuda.so"
    if not built.is_file():
        pytest.skip("pyronn-layers was built without CUDA kernels")
    from tensorflow.python.framework import kernels

    for name, geometry in {
        "PyronnLayersConeBeam": "projection_matrices",
        "PyronnLayersPlanarBeam": "ray_vectors",
    }.items():
        found = {k.device_type: k for k in kernels.get_registered_kernels_for_op(name).kernel}
        assert set(found) == {"CPU", "GPU"}
        assert geometry in found["GPU"].host_memory_arg
