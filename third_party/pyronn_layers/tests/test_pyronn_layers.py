import numpy as np
import pytest
import tensorflow as tf
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_3d
from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

import pyronn_layers
from pyronn_layers import maps


def geometry(shape=(8, 9, 10), spacing=(5.0, 4.0, 3.0), detector=(14, 17), views=7, arc=2 * np.pi, origin=None):
    """pyronn's geometry; everything along (z, y, x)."""
    made = GeometryCone3D(list(shape), list(spacing), list(detector), [6.0, 5.0], views, arc, 600.0, 400.0)
    if origin is not None:
        made.volume_origin = np.array(origin, np.float32)
    made.set_trajectory(circular_trajectory_3d(made))
    return made


def arguments(g):
    return {
        "volume_origin": g.volume_origin,
        "volume_spacing": g.volume_spacing,
        "projection_matrices": g.projection_matrices,
        "projection_multiplier": g.projection_multiplier,
    }


GEOMETRIES = {
    "plain": {},
    "one voxel across": {"shape": (1, 5, 3)},
    "half circle, off centre": {"arc": np.pi, "origin": (-30.0, -10.0, -5.0)},
    "tall detector": {"detector": (31, 8), "shape": (13, 6, 6), "spacing": (2.0, 6.0, 6.0)},
}


@pytest.fixture(params=[True, False], ids=["kept", "streamed"])
def path(request, monkeypatch):
    """Both ways of applying the matrices: kept whole and made view by view."""
    monkeypatch.setattr(maps, "KEPT_ENTRIES", maps.KEPT_ENTRIES if request.param else 0)
    for cached in (maps.projection, maps.backprojection):
        cached.cache_clear()
    yield request.param
    for cached in (maps.projection, maps.backprojection):
        cached.cache_clear()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradient_is_the_adjoint(path, name, rng):
    g = geometry(**GEOMETRIES[name])
    x = tf.constant(rng.standard_normal((2, *g.volume_shape)), tf.float32)
    y = tf.constant(rng.standard_normal((2, *g.sinogram_shape)), tf.float32)
    for operator, a, b in ((cone_projection3d, x, y), (cone_backprojection3d, y, x)):
        with tf.GradientTape() as tape:
            tape.watch(a)
            product = tf.reduce_sum(operator(a, g) * b)
        back = tape.gradient(product, a)
        scale = float(tf.norm(operator(a, g)) * tf.norm(b))
        assert abs(float(tf.reduce_sum(back * a)) - float(product)) < 1e-5 * scale
        if operator is cone_projection3d:
            direct = pyronn_layers.cone_projection3d_adjoint(b, g.volume_shape, **arguments(g))
            np.testing.assert_allclose(back, direct, rtol=1e-5, atol=1e-4)


def test_gradient_agrees_with_finite_differences(rng):
    g = geometry()
    x = rng.standard_normal((1, *g.volume_shape)).astype(np.float32)
    y = tf.constant(rng.standard_normal((1, *g.sinogram_shape)), tf.float32)
    variable = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(tf.square(cone_projection3d(variable, g) - y))
    gradient = tape.gradient(value, variable).numpy()
    for voxel in [(0, 0, 0, 0), (0, 4, 4, 5), (0, 7, 8, 9)]:
        step = np.zeros_like(x)
        step[voxel] = 0.1
        ends = [
            np.sum(np.square(cone_projection3d(tf.constant(x + s), g).numpy().astype(float) - y)) for s in (step, -step)
        ]
        assert gradient[voxel] == pytest.approx((ends[0] - ends[1]) / 0.2, rel=1e-3)


def test_both_paths_agree(rng, monkeypatch):
    g = geometry()
    x = tf.constant(rng.standard_normal((2, *g.volume_shape)), tf.float32)
    kept = cone_projection3d(x, g), cone_backprojection3d(cone_projection3d(x, g), g)
    monkeypatch.setattr(maps, "KEPT_ENTRIES", 0)
    maps.projection.cache_clear()
    maps.backprojection.cache_clear()
    streamed = cone_projection3d(x, g), cone_backprojection3d(cone_projection3d(x, g), g)
    for a, b in zip(kept, streamed, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-2)


def test_uniform_block_gives_its_exact_chord():
    """Central rays through a block, 12 x 14 x 16 voxels of 4 mm: entered and left through faces across their axis."""
    g = GeometryCone3D([12, 14, 16], [4.0, 4.0, 4.0], [9, 9], [2.0, 2.0], 4, 2 * np.pi, 1200.0, 800.0)
    g.set_trajectory(circular_trajectory_3d(g))
    found = cone_projection3d(tf.ones((1, 12, 14, 16)), g)[0].numpy()
    v, u = np.meshgrid(*[(np.arange(9) - 4) * 2.0] * 2, indexing="ij")
    slant = np.sqrt(1200.0**2 + u**2 + v**2) / 1200.0
    chords = {round(float(view[4, 4])) for view in found}
    assert chords == {14 * 4, 16 * 4}
    for view in found:
        np.testing.assert_allclose(view, round(float(view[4, 4])) * slant, rtol=1e-4)


def test_sphere_line_integrals():
    n, spacing, radius = 40, 2.0, 30.0
    g = GeometryCone3D([n] * 3, [spacing] * 3, [21, 21], [5.0, 5.0], 3, 2 * np.pi, 1000.0, 700.0)
    g.set_trajectory(circular_trajectory_3d(g))
    fine = (np.arange(3 * n) - (3 * n - 1) / 2) * spacing / 3
    z, y, x = np.meshgrid(fine, fine, fine, indexing="ij")
    ball = (x**2 + y**2 + z**2 < radius**2).astype(np.float32).reshape(n, 3, n, 3, n, 3).mean((1, 3, 5))
    found = cone_projection3d(tf.constant(ball[None]), g)[0].numpy()
    v, u = np.meshgrid(*[(np.arange(21) - 10) * 5.0] * 2, indexing="ij")
    sine2 = (u**2 + v**2) / (1000.0**2 + u**2 + v**2)
    expected = 2 * np.sqrt(np.maximum(radius**2 - 700.0**2 * sine2, 0.0))
    for view in found:
        assert np.sqrt(np.mean((view - expected) ** 2)) < 0.02 * 2 * radius


def test_projection_is_linear_for_signed_volumes(rng):
    g = geometry()
    a, b = (tf.constant(rng.standard_normal((1, *g.volume_shape)), tf.float32) for _ in range(2))
    together = cone_projection3d(2.0 * a - 3.0 * b, g)
    apart = 2.0 * cone_projection3d(a, g) - 3.0 * cone_projection3d(b, g)
    np.testing.assert_allclose(together, apart, rtol=1e-4, atol=1e-3)


def test_back_projection_of_ones_weighs_with_the_squared_depth():
    g = geometry(detector=(40, 40), views=1)
    found = cone_backprojection3d(tf.ones((1, *g.sinogram_shape)), g)[0].numpy()
    z, y, x = np.meshgrid(
        *[o + s * np.arange(n) for o, s, n in zip(g.volume_origin, g.volume_spacing, g.volume_shape, strict=True)],
        indexing="ij",
    )
    depth = g.projection_matrices[0, 2] @ np.stack([x, y, z, np.ones_like(x)], -1)[..., None].astype(np.float32)
    np.testing.assert_allclose(found, g.projection_multiplier / depth[..., 0] ** 2, rtol=1e-4)


def test_graph_mode_and_any_batch(rng):
    g = geometry()
    traced = tf.function(lambda x: cone_backprojection3d(cone_projection3d(x, g), g))
    for batch in (1, 3):
        x = tf.constant(rng.standard_normal((batch, *g.volume_shape)), tf.float32)
        eager = cone_backprojection3d(cone_projection3d(x, g), g)
        np.testing.assert_allclose(traced(x), eager, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volume_spacing": [1.0, 0.0, 1.0]}, "volume_spacing: found"),
        ({"volume_origin": [1.0, np.nan, 1.0]}, "volume_origin: found NaN"),
        ({"projection_matrices": np.zeros((0, 3, 4))}, "projection_matrices: found shape"),
        ({"projection_matrices": np.zeros((7, 3, 4))}, "projection_matrices: found a singular matrix"),
        ({"projection_matrices": np.ones((7, 4, 4))}, "projection_matrices: found shape"),
        ({"projection_shape": [8, 14, 17]}, "projection_shape: found 8 views; expected 7"),
        ({"volume": tf.zeros((8, 9, 10))}, "volume: found shape"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    g = geometry()
    call = {"volume": tf.zeros((1, *g.volume_shape)), "projection_shape": g.sinogram_shape, **arguments(g), **change}
    with pytest.raises(ValueError, match=message):
        pyronn_layers.cone_projection3d(**call)


def test_missing_operators_say_so():
    with pytest.raises(NotImplementedError, match="no fan_projection2d; it has cone_backprojection3d"):
        _ = pyronn_layers.fan_projection2d


@pytest.fixture
def rng():
    return np.random.default_rng(0)
