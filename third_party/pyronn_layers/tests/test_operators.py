import os
import pathlib
import subprocess
import sys

import geometries
import numpy as np
import pytest
import tensorflow as tf
from geometries import GEOMETRIES, TRANSPOSES, apply, cone, tilted
from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

import pyronn_layers
from pyronn_layers.library import ops

pytestmark = pytest.mark.filterwarnings("ignore:the detector does not see the whole volume")


@pytest.fixture(params=["portable", "avx2", "avx512"])
def instruction_set(request):
    try:
        apply("projection", np.ones((1, 8, 9, 10)), cone(), instruction_set=request.param)
    except ValueError as error:
        pytest.skip(str(error))
    return request.param


def inputs(operator, made, rng, batch):
    shapes = [made.volume_shape, made.sinogram_shape]
    if operator == "backprojection":
        shapes.reverse()
    return [rng.standard_normal((batch, *shape)).astype(np.float32) for shape in shapes]


@pytest.mark.parametrize("path", ["auto", "any"])
@pytest.mark.parametrize("operator", TRANSPOSES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_transposes_are_exact(instruction_set, name, operator, path, rng):
    made = GEOMETRIES[name]()
    x, y = inputs(operator, made, rng, batch=3)
    how = {"path": path, "instruction_set": instruction_set}
    forward = apply(operator, x, made, **how).numpy().astype(float)
    back = apply(TRANSPOSES[operator], y, made, **how).numpy().astype(float)
    scale = np.linalg.norm(forward) * np.linalg.norm(y)
    assert abs(np.sum(forward * y) - np.sum(back * x)) < 1e-6 * scale


@pytest.mark.parametrize("name", [name for name in GEOMETRIES if name not in ("tilted", "mainly along z")])
def test_separable_path_agrees_with_that_for_any_matrices(instruction_set, name, rng):
    made = GEOMETRIES[name]()
    for operator in [*TRANSPOSES, *TRANSPOSES.values()]:
        values = rng.standard_normal(
            (9, *(made.volume_shape if operator in geometries.TAKE_VOLUMES else made.sinogram_shape))
        )
        one, other = (apply(operator, values, made, path=p, instruction_set=instruction_set) for p in ("auto", "any"))
        np.testing.assert_allclose(one, other, atol=3e-5 * np.abs(other).max())


@pytest.mark.parametrize(
    ("name", "separable"), [("plain", True), ("upside down", True), ("tilted", False), ("mainly along z", False)]
)
def test_path_is_chosen_by_the_matrices(name, separable):
    made = GEOMETRIES[name]()
    found, _ = ops.pyronn_layers_cone_geometry_check(
        made.volume_shape,
        made.detector_shape,
        made.volume_origin.astype(float),
        made.volume_spacing.astype(float),
        made.projection_matrices.astype(float),
    )
    assert bool(found) is separable


@pytest.mark.parametrize("operator", [cone_projection3d, cone_backprojection3d])
@pytest.mark.parametrize("name", ["plain", "tilted"])
def test_gradients_are_the_transposes(name, operator, rng):
    made = GEOMETRIES[name]()
    which = "projection" if operator is cone_projection3d else "backprojection"
    x, y = (tf.constant(each) for each in inputs(which, made, rng, batch=2))
    with tf.GradientTape() as outer:
        outer.watch(y)
        with tf.GradientTape() as tape:
            tape.watch(x)
            product = tf.reduce_sum(operator(x, made) * y)
        back = tape.gradient(product, x)
        again = tf.reduce_sum(back * x)
    np.testing.assert_allclose(back, apply(TRANSPOSES[which], y, made), rtol=1e-6)
    np.testing.assert_allclose(outer.gradient(again, y), operator(x, made), rtol=1e-6)  # the transpose's gradient


def test_gradient_agrees_with_finite_differences(rng):
    made = cone()
    x = rng.standard_normal((1, *made.volume_shape)).astype(np.float32)
    y = tf.constant(rng.standard_normal((1, *made.sinogram_shape)), tf.float32)
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(tf.square(cone_projection3d(variable, made) - y))
    gradient = tape.gradient(value, variable).numpy()
    for voxel in [(0, 0, 0, 0), (0, 4, 4, 5), (0, 7, 8, 9)]:
        step = np.zeros_like(x)
        step[voxel] = 0.1
        ends = [np.sum(np.square(cone_projection3d(x + s, made).numpy().astype(float) - y)) for s in (step, -step)]
        assert gradient[voxel] == pytest.approx((ends[0] - ends[1]) / 0.2, rel=1e-3)


def test_geometry_gets_no_gradient():
    made = cone()
    given = {name: tf.constant(value, tf.float32) for name, value in geometries.arguments(made).items()}
    with tf.GradientTape() as tape:
        tape.watch(list(given.values()))
        result = pyronn_layers.cone_projection3d(tf.ones((1, 8, 9, 10)), made.sinogram_shape, **given)
    assert tape.gradient(result, list(given.values())) == [None] * 4


@pytest.mark.parametrize("name", ["plain", "tilted"])
def test_projection_is_linear_for_signed_volumes(name, rng):
    made = GEOMETRIES[name]()
    a, b = (rng.standard_normal((1, *made.volume_shape)).astype(np.float32) for _ in range(2))
    together = cone_projection3d(2.0 * a - 3.0 * b, made)
    apart = 2.0 * cone_projection3d(a, made) - 3.0 * cone_projection3d(b, made)
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("made", [cone(detector=(40, 40), views=1), tilted(cone(detector=(40, 40), views=1))])
def test_back_projection_of_ones_weighs_with_the_squared_depth(made):
    found = cone_backprojection3d(tf.ones((1, *made.sinogram_shape)), made)[0].numpy()
    axes = zip(made.volume_origin, made.volume_spacing, made.volume_shape, strict=True)
    z, y, x = np.meshgrid(*[o + s * np.arange(n) for o, s, n in axes], indexing="ij")
    depth = (np.stack([x, y, z, np.ones_like(x)], -1) @ made.projection_matrices[0].T)[..., 2]
    np.testing.assert_allclose(found, made.projection_multiplier / depth**2, rtol=1e-4)


def test_graph_mode_traces_once_for_any_batch(rng):
    made = cone()
    given = geometries.arguments(made)

    @tf.function(input_signature=[tf.TensorSpec([None, *made.volume_shape])])
    def there_and_back(x):
        sinogram = pyronn_layers.cone_projection3d(x, made.sinogram_shape, **given)
        assert sinogram.shape[1:] == tuple(made.sinogram_shape)
        return pyronn_layers.cone_backprojection3d(sinogram, made.volume_shape, **given)

    for batch in (1, 3, 17):
        x = rng.standard_normal((batch, *made.volume_shape)).astype(np.float32)
        eager = cone_backprojection3d(cone_projection3d(x, made), made)
        np.testing.assert_allclose(there_and_back(x), eager, rtol=1e-5, atol=1e-3)
    assert there_and_back.experimental_get_tracing_count() == 1


def test_geometry_may_be_known_only_when_the_graph_runs(rng):
    made = cone()
    x = rng.standard_normal((2, *made.volume_shape)).astype(np.float32)
    names = list(geometries.arguments(made))

    @tf.function(reduce_retracing=True)
    def project(values, *given):
        return pyronn_layers.cone_projection3d(values, made.sinogram_shape, **dict(zip(names, given, strict=True)))

    given = [tf.constant(value, tf.float32) for value in geometries.arguments(made).values()]
    np.testing.assert_allclose(project(x, *given), cone_projection3d(x, made), rtol=1e-5, atol=1e-3)
    given[1] = tf.constant([1.0, np.nan, 1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="volume_spacing: found nan along y"):
        project(x, *given)


def test_entries_of_a_batch_may_have_geometries_of_their_own(rng):
    first, second = cone(), cone(origin=(-10.0, -15.0, -20.0), arc=np.pi)
    x = rng.standard_normal((3, *first.volume_shape)).astype(np.float32)
    order = [first, second, second]
    each = {name: np.stack([getattr(made, name) for made in order]) for name in geometries.arguments(first)}
    together = pyronn_layers.cone_projection3d(x, first.sinogram_shape, **each)
    for k, made in enumerate(order):
        np.testing.assert_allclose(together[k], cone_projection3d(x[k : k + 1], made)[0], rtol=1e-6)


@pytest.mark.parametrize("operator", ["projection_adjoint", "projection", "backprojection", "backprojection_adjoint"])
def test_results_repeat_bit_for_bit(operator, rng):
    made = cone((20, 21, 22), detector=(30, 31), views=13)
    shape = made.volume_shape if operator in geometries.TAKE_VOLUMES else made.sinogram_shape
    values = rng.standard_normal((2, *shape))
    for path in ("auto", "any"):
        first = apply(operator, values, made, path=path).numpy()
        for _ in range(3):
            np.testing.assert_array_equal(apply(operator, values, made, path=path), first)


def test_a_batch_gives_what_each_of_it_gives(rng):
    made = cone()
    x = rng.standard_normal((11, *made.volume_shape)).astype(np.float32)
    together = cone_projection3d(x, made)
    for k in (0, 7, 8, 10):
        np.testing.assert_allclose(together[k], cone_projection3d(x[k : k + 1], made)[0], rtol=1e-5, atol=1e-4)


SHIM = """
#include <cerrno>
#include <cstdlib>
#include <sys/syscall.h>
#include <unistd.h>
static bool scarce = false;
extern "C" void make_scarce() { scarce = true; }
extern "C" void* aligned_alloc(size_t alignment, size_t bytes) {
  void* memory = nullptr;
  const bool first_thread = syscall(SYS_gettid) == getpid();
  if (alignment < sizeof(void*)) alignment = sizeof(void*);
  return (first_thread || !scarce) && posix_memalign(&memory, alignment, bytes) == 0 ? memory : nullptr;
}
"""
CALL = """
import ctypes, sys; sys.path.insert(0, sys.argv[1])
import numpy as np, tensorflow as tf
from geometries import GEOMETRIES, apply
made = GEOMETRIES["longer than a vector"]()
apply("projection", np.ones((1, *made.volume_shape)), made)
ctypes.CDLL(None).make_scarce()
for operator in ("projection", "projection_adjoint", "backprojection", "backprojection_adjoint"):
    volume = operator in ("projection", "backprojection_adjoint")
    try:
        apply(operator, np.ones((1, *(made.volume_shape if volume else made.sinogram_shape))), made, path="auto")
        print("done")
    except tf.errors.ResourceExhaustedError as error:
        print(error.message)
"""


def test_too_little_memory_in_a_worker_is_an_error_and_no_end(tmp_path):
    """An exception that leaves one of TensorFlow's threads would end the process."""
    (tmp_path / "shim.cc").write_text(SHIM)
    compiler = ["g++", "-shared", "-fPIC", "-o", "shim.so", "shim.cc"]
    subprocess.run(compiler, cwd=tmp_path, check=True)
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "shim.so"), "TF_NUM_INTRAOP_THREADS": "4"}
    call = [sys.executable, "-c", CALL, str(pathlib.Path(__file__).parent)]
    found = subprocess.run(call, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in found.stdout.splitlines() if line == "done" or "pyronn-layers" in line]
    assert (found.returncode, len(lines)) == (0, 4), found.stderr
    assert any("too little memory for the operator's copies" in line for line in lines)
