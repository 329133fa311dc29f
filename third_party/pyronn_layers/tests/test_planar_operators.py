import numpy as np
import planar_geometries
import pytest
import tensorflow as tf
from planar_geometries import BEAMS, GEOMETRIES, TRANSPOSES, apply, arguments, scan
from pyronn.ct_reconstruction.layers import backprojection_2d, projection_2d

import pyronn_layers
from pyronn_layers.values import TAKE_VOLUMES

pytestmark = pytest.mark.filterwarnings("ignore:the detector does not see the whole ellipse")
beams = pytest.mark.parametrize("beam", BEAMS)
LAYERS = {
    ("parallel", "projection"): projection_2d.parallel_projection2d,
    ("parallel", "backprojection"): backprojection_2d.parallel_backprojection2d,
    ("fan", "projection"): projection_2d.fan_projection2d,
    ("fan", "backprojection"): backprojection_2d.fan_backprojection2d,
}
layers = pytest.mark.parametrize(("beam", "operator"), LAYERS)


@pytest.fixture(scope="module", params=["portable", "avx2", "avx512"])
def instruction_set(request):
    try:
        apply("projection", np.ones((1, 14, 17)), scan("parallel"), instruction_set=request.param)
    except ValueError as error:
        pytest.skip(str(error))
    return request.param


def noise(operator, made, rng, batch=1):
    shape = made.volume_shape if operator in TAKE_VOLUMES else made.sinogram_shape
    return rng.standard_normal((batch, *shape)).astype(np.float32)


@pytest.mark.parametrize("operator", TRANSPOSES)
@pytest.mark.parametrize("name", GEOMETRIES)
@beams
def test_transposes_are_exact(instruction_set, beam, name, operator, rng):
    made = scan(beam, **GEOMETRIES[name])
    x, y = (noise(which, made, rng, batch=9) for which in (operator, TRANSPOSES[operator]))
    how = {"instruction_set": instruction_set}
    forward = apply(operator, x, made, **how).numpy().astype(float)
    back = apply(TRANSPOSES[operator], y, made, **how).numpy().astype(float)
    scale = np.linalg.norm(forward) * np.linalg.norm(y)
    assert abs(np.sum(forward * y) - np.sum(back * x)) < 1e-6 * scale


@beams
def test_instruction_sets_agree(instruction_set, beam, rng):
    made = scan(beam, **GEOMETRIES["longer than a vector"])
    for operator in [*TRANSPOSES, *TRANSPOSES.values()]:
        values = noise(operator, made, rng)
        one, other = (apply(operator, values, made, instruction_set=name) for name in (instruction_set, "portable"))
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


@layers
def test_gradients_of_the_layers_are_the_transposes(beam, operator, rng):
    made, layer = scan(beam), LAYERS[beam, operator]
    x, y = (tf.constant(noise(which, made, rng, batch=2)) for which in (operator, TRANSPOSES[operator]))
    with tf.GradientTape() as outer:
        outer.watch(y)
        with tf.GradientTape() as tape:
            tape.watch(x)
            product = tf.reduce_sum(layer(x, made) * y)
        back = tape.gradient(product, x)
        again = tf.reduce_sum(back * x)
    np.testing.assert_array_equal(back, apply(TRANSPOSES[operator], y, made))
    np.testing.assert_array_equal(outer.gradient(again, y), layer(x, made))  # the transpose's gradient


@layers
def test_gradients_agree_with_finite_differences(beam, operator, rng):
    made = scan(beam, shape=(4, 5), columns=9, views=3, pixel=1.5)
    x = noise(operator, made, rng)
    found, expected = tf.test.compute_gradient(lambda v: LAYERS[beam, operator](v, made), [x], delta=1.0)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-5 * np.abs(expected[0]).max())


@beams
def test_geometry_gets_no_gradient(beam):
    made = scan(beam)
    given = {name: tf.constant(value, tf.float32) for name, value in arguments(made).items()}
    project = getattr(pyronn_layers, f"{beam}_projection2d")
    with tf.GradientTape() as tape:
        tape.watch(list(given.values()))
        result = project(tf.ones((1, 14, 17)), made.sinogram_shape, **given)
    assert tape.gradient(result, list(given.values())) == [None] * len(given)


@layers
def test_entries_of_a_batch_may_have_geometries_of_their_own(beam, operator, rng):
    order = [scan(beam), scan(beam, origin=(-3.0, -9.0), angles=np.arange(7) * 31), scan(beam)]
    values = noise(operator, order[0], rng, batch=3)
    shape = order[0].sinogram_shape if operator == "projection" else order[0].volume_shape
    each = {name: np.stack([arguments(made)[name] for made in order]) for name in arguments(order[0])}
    together = getattr(pyronn_layers, f"{beam}_{operator}2d")(values, shape, **each)
    for k, made in enumerate(order):
        np.testing.assert_array_equal(together[k], apply(operator, values[k : k + 1], made)[0])


@pytest.mark.parametrize("operator", [*TRANSPOSES, *TRANSPOSES.values()])
@beams
def test_a_batch_gives_what_each_of_it_gives(beam, operator, rng):
    made = scan(beam)
    values = noise(operator, made, rng, batch=11)
    together = apply(operator, values, made)
    for k in (0, 7, 8, 10):
        np.testing.assert_array_equal(together[k], apply(operator, values[k : k + 1], made)[0])


@beams
def test_graph_mode_traces_once_for_any_batch(beam, rng):
    made = scan(beam)
    project, backproject = (getattr(pyronn_layers, f"{beam}_{name}2d") for name in ("projection", "backprojection"))

    @tf.function(input_signature=[tf.TensorSpec([None, *made.volume_shape])])
    def there_and_back(x):
        sinogram = project(x, made.sinogram_shape, **arguments(made))
        assert sinogram.shape[1:] == tuple(made.sinogram_shape)
        return backproject(sinogram, made.volume_shape, **arguments(made))

    for batch in (1, 3):
        x = noise("projection", made, rng, batch)
        np.testing.assert_array_equal(there_and_back(x), apply("backprojection", apply("projection", x, made), made))
    assert there_and_back.experimental_get_tracing_count() == 1


@beams
def test_geometry_may_be_known_only_when_the_graph_runs(beam, rng):
    made, project = scan(beam), getattr(pyronn_layers, f"{beam}_projection2d")
    x = noise("projection", made, rng, batch=2)

    @tf.function(reduce_retracing=True)
    def traced(values, given):
        return project(values, made.sinogram_shape, **given)

    given = {name: tf.constant(value, tf.float32) for name, value in arguments(made).items()}
    np.testing.assert_allclose(traced(x, given), apply("projection", x, made), rtol=1e-5, atol=1e-4)
    given["volume_spacing"] = tf.constant([np.nan, 1.0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="volume_spacing: found nan along y; expected positive"):
        traced(x, given)


def test_lengths_of_the_rays_vectors_do_not_matter(rng):
    made = scan("fan")
    x = noise("projection", made, rng)
    given = arguments(made) | {"central_ray_vectors": 3.0 * made.central_ray_vectors}
    found = pyronn_layers.fan_projection2d(x, made.sinogram_shape, **given)
    np.testing.assert_allclose(found, apply("projection", x, made), rtol=1e-5, atol=1e-5)


def test_every_function_that_the_layers_of_pyronn_call_is_there():
    for module in (projection_2d, backprojection_2d):
        for name in module.__dict__:
            if name.endswith("2d"):
                assert callable(getattr(pyronn_layers, name))
    assert set(planar_geometries.TRANSPOSES) == {operator for _, operator in LAYERS}
