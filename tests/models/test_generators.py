import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.generators import MaterialGenerator, ShapeGenerator, project_nonnegative

SOFT_TISSUE_PER_MM = 0.0193


@pytest.fixture
def z(rng):
    return rng.normal(size=(3, 64)).astype(np.float32)


def gradient_to_z(generator, z):
    variable = tf.Variable(z)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.square(generator(variable) + 1))
    return tape.gradient(value, variable).numpy()


def test_shape_parameters_start_at_the_mean_shape(z):
    tau = ShapeGenerator(seed=0)(z).numpy()
    assert tau.shape == (3, 21)
    assert np.abs(tau[:, :14]).max() < 0.1
    assert np.abs(tau[:, 14:17]).max() < 0.02
    assert np.abs(tau[:, 17:20]).max() < 2
    assert np.abs(tau[:, 20]).max() < 0.02
    assert np.ptp(tau, axis=0).min() > 0


@pytest.mark.parametrize("n_modes", [1, 4])
def test_shape_parameters_follow_the_number_of_modes(n_modes):
    assert ShapeGenerator(n_modes, latent_dim=8, seed=0)(tf.zeros((2, 8))).shape == (2, n_modes + 7)


@pytest.mark.parametrize("sign", [-1, 1])
def test_shape_parameters_stay_plausible_for_any_latent(z, sign):
    generator = ShapeGenerator(seed=0)
    generator(z)
    generator.last.bias.assign(tf.fill((21,), sign * 1e3))
    expected = sign * np.array([3.0] * 14 + [1.2] * 3 + [50.0] * 3 + [0.7])
    np.testing.assert_allclose(generator(1e3 * z), np.tile(expected, (3, 1)), rtol=1e-5)


def test_material_starts_as_soft_tissue(z):
    mu = MaterialGenerator(seed=0)(z).numpy()
    assert mu.shape == (3, 16, 16, 16)
    np.testing.assert_allclose(mu, SOFT_TISSUE_PER_MM, rtol=0.02)
    assert np.ptp(mu) > 0


def test_material_starts_at_a_given_attenuation(z):
    np.testing.assert_allclose(MaterialGenerator(mu_initial_per_mm=0.05, seed=0)(z), 0.05, rtol=0.02)


def test_projection_lets_gradients_pass_that_lead_back():
    """Descent goes against the gradient: of the two points below zero, the loss wants the first up, the second down."""
    x, upstream = tf.constant([-2.0, -2.0, 3.0, 3.0]), tf.constant([-1.0, 1.0, -1.0, 1.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = project_nonnegative(x)
    np.testing.assert_array_equal(value, [0, 0, 3, 3])
    np.testing.assert_array_equal(tape.gradient(value, x, upstream), [-1, 0, -1, 1])


@pytest.mark.parametrize("scale", [1e3, 1e5])
def test_material_is_never_negative(z, scale):
    mu = MaterialGenerator(seed=0)(scale * z).numpy()
    assert np.isfinite(mu).all()
    assert mu.min() >= 0
    assert mu.min() < 0.5 * SOFT_TISSUE_PER_MM < 2 * SOFT_TISSUE_PER_MM < mu.max()


@pytest.mark.parametrize("size", [8, 16, 32])
def test_material_map_follows_its_size(size):
    assert MaterialGenerator(size, latent_dim=8, width=16, seed=0)(tf.zeros((2, 8))).shape == (2, size, size, size)


@pytest.mark.parametrize("make", [ShapeGenerator, MaterialGenerator])
def test_gradient_reaches_every_latent(z, make):
    gradient = gradient_to_z(make(seed=0), z)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).min() > 0


@pytest.mark.parametrize("make", [ShapeGenerator, MaterialGenerator])
def test_volumes_of_a_batch_do_not_influence_each_other(z, make):
    generator = make(seed=0)
    alone = np.concatenate([generator(z[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(generator(z), alone, rtol=1e-4, atol=1e-5)
