import warnings

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.ct.fdk import cosine_weights, filter_matrix, filter_rows, ramp_kernel
from fedsim_tf.ct.geometry import cone_beam_geometry
from fedsim_tf.ct.operators import GeometryCone3D, circular_trajectory_3d
from fedsim_tf.ct.scanner import ConeBeamScanner
from fedsim_tf.ct.simulator import CTSimulator
from fedsim_tf.errors import InputError

SHAPE, SPACING_MM = (12, 16, 16), (8.0, 7.0, 9.0)


def coordinates(shape, spacing_mm):
    axes = [(np.arange(n) - (n - 1) / 2) * s for n, s in zip(shape, spacing_mm[::-1], strict=True)]
    return np.meshgrid(*axes, indexing="ij")


def ellipsoid(shape, spacing_mm, semi_axes_mm, supersampling=3):
    """Share of each voxel within an ellipsoid (semi-axes x, y, z)."""
    fine = tuple(n * supersampling for n in shape)
    z, y, x = coordinates(fine, tuple(s / supersampling for s in spacing_mm))
    a, b, c = semi_axes_mm
    inside = ((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 < 1).astype(np.float32)
    k = supersampling
    return inside.reshape(shape[0], k, shape[1], k, shape[2], k).mean((1, 3, 5))


def test_every_view_sees_every_corner():
    geometry = cone_beam_geometry(SHAPE, SPACING_MM)
    half = np.array([n * s / 2 for n, s in zip(SHAPE[::-1], SPACING_MM, strict=True)])
    corners = np.array([[sx, sy, sz, 1] for sx in (-1, 1) for sy in (-1, 1) for sz in (-1, 1)], float)
    corners[:, :3] *= half
    for matrix in geometry.projection_matrices:
        u, v, w = (matrix @ corners.T).astype(float)
        assert np.all(w > 0)
        assert (u / w).min() > 0
        assert (u / w).max() < geometry.detector_shape[1]
        assert (v / w).min() > 0
        assert (v / w).max() < geometry.detector_shape[0]


def test_ellipsoid_is_reconstructed_to_one_percent():
    shape, spacing = (32, 32, 32), (5.0, 5.0, 5.0)
    scanner = ConeBeamScanner(cone_beam_geometry(shape, spacing))
    truth = 0.02 * ellipsoid(shape, spacing, (60.0, 50.0, 55.0))
    found = scanner.reconstruct(scanner.project(tf.constant(truth[None], tf.float32)))[0].numpy()
    core = ellipsoid(shape, spacing, (35.0, 30.0, 20.0)) == 1
    assert found[core].mean() == pytest.approx(0.02, rel=0.01)
    assert found[core].std() < 0.02 * 0.02
    assert np.abs(found[:, :3, :3]).max() < 0.1 * 0.02  # nothing where nothing is


def test_ellipsoid_is_reconstructed_no_worse_than_by_rtk():
    """itk-rtk 2.7 (its own projections, FDKConeBeamReconstructionFilter) on this scan: mean error -0.00044, root mean
    square 0.00640 of the ellipsoid's value within its core."""
    shape, spacing = (64, 64, 64), (4.0, 4.0, 4.0)
    geometry = GeometryCone3D(
        volume_shape=[64] * 3,
        volume_spacing=[4.0] * 3,
        detector_shape=[128, 128],
        detector_spacing=[4.0, 4.0],
        number_of_projections=90,
        angular_range=2 * np.pi,
        source_detector_distance=1200.0,
        source_isocenter_distance=800.0,
    )
    geometry.set_trajectory(circular_trajectory_3d(geometry))
    scanner = ConeBeamScanner(geometry)
    truth = 0.02 * ellipsoid(shape, spacing, (90.0, 75.0, 60.0))
    found = scanner.reconstruct(scanner.project(tf.constant(truth[None], tf.float32)))[0].numpy()
    z, y, x = coordinates(shape, spacing)
    core = (x / 60) ** 2 + (y / 50) ** 2 + (z / 25) ** 2 < 1
    error = found[core] / 0.02 - 1
    assert abs(error.mean()) < 0.0006
    assert np.sqrt(np.mean(error**2)) < 0.0066


def test_central_line_integrals_of_an_ellipsoid_are_chords():
    shape, spacing = (32, 32, 32), (5.0, 5.0, 5.0)
    scanner = ConeBeamScanner(cone_beam_geometry(shape, spacing, n_views=4))
    sinogram = scanner.project(tf.constant(ellipsoid(shape, spacing, (60.0, 40.0, 50.0))[None], tf.float32))[0].numpy()
    rows, columns = sinogram.shape[1:]
    middle = sinogram[:, rows // 2 - 1 : rows // 2 + 1, columns // 2 - 1 : columns // 2 + 1].mean((1, 2))
    np.testing.assert_allclose(np.sort(middle), [80, 80, 120, 120], rtol=0.01)


@pytest.mark.parametrize("direction", ["project", "reconstruct"])
def test_gradients_are_exact_adjoints(rng, direction):
    scanner = ConeBeamScanner(cone_beam_geometry(SHAPE, SPACING_MM, n_views=11))
    shapes = (scanner.domain_shape, scanner.range_shape)
    operator = getattr(scanner, direction)
    n_in, n_out = shapes if direction == "project" else shapes[::-1]
    x, y = (tf.constant(rng.standard_normal((3, *n)), tf.float32) for n in (n_in, n_out))
    with tf.GradientTape() as tape:
        tape.watch(x)
        product = tf.reduce_sum(operator(x) * y)
    back = tape.gradient(product, x)
    assert float(tf.reduce_sum(back * x)) == pytest.approx(float(product), rel=1e-4)
    other = tf.constant(rng.standard_normal((3, *n_in)), tf.float32)  # the gradient does not depend on x: it is linear
    assert float(tf.reduce_sum(back * other)) == pytest.approx(float(tf.reduce_sum(operator(other) * y)), rel=1e-3)


def response(kernel):
    """Fourier transform of a symmetric filter."""
    return np.real(np.fft.rfft(np.concatenate([kernel, [0.0], kernel[:0:-1]])))


def test_ramp_is_the_absolute_frequency():
    found = response(ramp_kernel(256, 0.5))
    frequency = np.fft.rfftfreq(512, 0.5)
    np.testing.assert_allclose(found[5:] * 0.5, frequency[5:], rtol=0.02)
    assert 0 < found[0] * 0.5 < frequency[1]  # a band-limited ramp keeps some of the constant
    blurred = response(ramp_kernel(256, 0.5, blur_mm=0.8))
    expected = found * np.exp(-2 * (np.pi * frequency * 0.8) ** 2)
    np.testing.assert_allclose(blurred, expected, atol=2e-3 * found.max())


def test_filter_is_a_linear_convolution_of_zero_padded_rows(rng):
    kernel, rows = ramp_kernel(37, 1.3), rng.standard_normal((3, 2, 5, 37)).astype(np.float32)
    found = filter_rows(tf.constant(rows), filter_matrix(kernel))
    expected = ndimage.convolve1d(rows.astype(float), np.concatenate([kernel[:0:-1], kernel]), mode="constant")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_cosine_weights_are_symmetric_and_one_in_the_middle():
    geometry = cone_beam_geometry((12, 16, 18), SPACING_MM)
    weights = cosine_weights(geometry)
    assert weights.shape == tuple(geometry.detector_shape)
    np.testing.assert_allclose(weights, weights[::-1, ::-1], atol=1e-7)
    assert weights.max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("shape", [(16, 16, 16), (24, 16, 20)])
def test_a_body_that_goes_on_beyond_the_grid_is_as_dense_at_its_ends(shape):
    """A column of water through all slices: within 3 HU everywhere inside, where it loses hundreds if it ends there."""
    spacing = tuple(240.0 / n for n in shape[::-1])
    water = 0.02 * ellipsoid(shape, spacing, (90.0, 80.0, 1e6))
    core = ellipsoid(shape, spacing, (50.0, 45.0, 1e6)) == 1
    mu = tf.constant(water[None], tf.float32)
    found = CTSimulator(shape, spacing)(mu)[0].numpy()
    per_slice = np.array([part[inside].mean() for part, inside in zip(found, core, strict=True)])
    np.testing.assert_allclose(1000 * (per_slice / 0.02 - 1), 1000 * (per_slice[shape[0] // 2] / 0.02 - 1), atol=3)
    ending = ConeBeamScanner(cone_beam_geometry(shape, spacing))
    cut = ending.reconstruct(ending.project(mu))[0].numpy()
    assert cut[0][core[0]].mean() < 0.8 * 0.02


def test_only_a_volume_that_is_cut_off_is_warned_of():
    """A body that goes on beyond the grid leaves the detector as it should."""
    geometry = cone_beam_geometry(SHAPE, SPACING_MM, n_views=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        project = ConeBeamScanner(geometry, goes_on=True).project
        project(tf.zeros((1, *SHAPE)))
        tf.function(project, input_signature=[tf.TensorSpec((None, *SHAPE))])(tf.zeros((2, *SHAPE)))
    for name in ("volume_spacing", "volume_origin"):
        setattr(geometry, name, 3.0 * np.asarray(getattr(geometry, name)))
    with pytest.warns(UserWarning, match="the detector does not see the whole volume"):
        ConeBeamScanner(geometry).project(tf.zeros((1, *SHAPE)))


def test_the_gradient_through_a_body_that_goes_on_is_that_of_its_adjoint():
    """The simulator is linear: <A x, y> = <x, A^T y>, and columns of A by linearity."""
    simulator = CTSimulator(SHAPE, SPACING_MM, n_views=12)
    x, y = tf.random.stateless_normal((2, 1, *SHAPE), (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        forward = simulator(x)
    adjoint = tape.gradient(forward, x, output_gradients=y)
    assert float(tf.reduce_sum(adjoint * x)) == pytest.approx(float(tf.reduce_sum(forward * y)), rel=1e-4)
    ends = tf.Variable(tf.zeros_like(x))
    ends[:, 0].assign(tf.ones_like(x[:, 0]))
    assert float(tf.reduce_sum(simulator(ends) * y)) == pytest.approx(float(tf.reduce_sum(adjoint[:, 0])), rel=1e-3)


def test_simulator_saves_loads_and_traces_once(tmp_path):
    inputs = tf.keras.Input(SHAPE)
    model = tf.keras.Model(inputs, CTSimulator(SHAPE, SPACING_MM, n_views=10)(inputs))
    mu = tf.random.uniform((2, *SHAPE)) * 0.02
    model.save(tmp_path / "simulator.keras")
    loaded = tf.keras.models.load_model(tmp_path / "simulator.keras", custom_objects={"CTSimulator": CTSimulator})
    np.testing.assert_allclose(loaded(mu), model(mu), atol=1e-6)
    layer = model.layers[-1]
    traced = tf.function(layer)
    np.testing.assert_allclose(traced(mu), layer(mu), atol=1e-6)
    traced(mu * 2)
    assert traced.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cone_beam_geometry((4, 4, 4), (1.0, 1.0, -1.0)), "spacing_mm: found"),
        (lambda: cone_beam_geometry((4, 0, 4), (1.0, 1.0, 1.0)), "shape: found"),
        (lambda: cone_beam_geometry((4, 4, 4), (1.0, 1.0, 1.0), n_views=0), "n_views: found 0"),
        (lambda: CTSimulator((4, 4, 4), (1.0, 1.0, 1.0))(tf.zeros((1, 4, 4, 5))), r"expected \(batch, 4, 4, 4\)"),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(InputError, match=message):
        call()
