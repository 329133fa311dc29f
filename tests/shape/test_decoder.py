import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from fedsim_tf.errors import InputError
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.pose import rotation_matrices
from fedsim_tf.shape.ssm import StatisticalShapeModel
from tests.shape.shapes_for_tests import population, population_of_regions

GRID = Grid.centred((32, 32, 32), (96.0, 96.0, 96.0))


@pytest.fixture(scope="module")
def decoder():
    return ShapeDecoder(StatisticalShapeModel.fit(*population(), n_modes=4), GRID)


@pytest.fixture(scope="module", params=["heart", "regions"])
def either(request):
    """A decoder of overlapping regions, as one heart or by region."""
    return ShapeDecoder(StatisticalShapeModel.fit(*population_of_regions(), n_modes=4), GRID, labels=request.param)


def linear_integral(points, faces, slope, offset):
    """Integral of offset + slope . x over closed surfaces in mm, by tetrahedra from the origin, float64."""
    a, b, c = (points[faces[:, k]].astype(np.float64) for k in range(3))
    volumes = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    return np.sum(volumes * (offset + ((a + b + c) / 4) @ slope))


def numpy_points(ssm, tau):
    """The decoder's surface in float64, with scipy's rotations."""
    from scipy.spatial.transform import Rotation

    k = ssm.n_modes
    local = ssm.mean + np.tensordot(tau[:k] * ssm.std, ssm.modes.astype(np.float64), axes=1)
    turned = Rotation.from_euler("xyz", tau[k : k + 3]).apply(local)
    return np.exp(tau[k + 6]) * turned + tau[k + 3 : k + 6]


def test_rotation_agrees_with_scipy(rng):
    from scipy.spatial.transform import Rotation

    angles = rng.uniform(-1, 1, (5, 3))
    expected = Rotation.from_euler("xyz", angles).as_matrix()
    np.testing.assert_allclose(rotation_matrices(tf.constant(angles)), expected, atol=1e-12)


@pytest.mark.parametrize("gradient", ["finite_difference", "surface"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_gradient_agrees_with_closed_form(decoder, gradient, seed):
    """For a linear upstream gradient the inner product is known in closed form; differentiate that in float64."""
    rng = np.random.default_rng(seed)
    decoder = ShapeDecoder(decoder.ssm, GRID, gradient)
    n = decoder.n_parameters
    tau = np.concatenate([rng.normal(0, 0.7, n - 7), rng.normal(0, 0.2, 3), rng.normal(0, 3, 3), [0.1]])
    slope, offset = rng.normal(size=3) / 30, rng.normal()
    centres = [np.arange(m) * s + o for m, s, o in zip(GRID.shape[::-1], GRID.spacing_mm, GRID.origin_mm, strict=True)]
    z, y, x = np.meshgrid(*centres[::-1], indexing="ij")
    upstream = (offset + slope[0] * x + slope[1] * y + slope[2] * z).astype(np.float32)

    found = gradient_of(decoder, tau, upstream)

    voxel = np.prod(GRID.spacing_mm)
    faces = decoder.ssm.faces
    expected = np.zeros(n)
    for i in range(n):
        step = np.eye(n)[i] * 1e-4
        ends = [linear_integral(numpy_points(decoder.ssm, tau + s), faces, slope, offset) for s in (step, -step)]
        expected[i] = (ends[0] - ends[1]) / 2e-4 / voxel
    scaled = decoder.steps  # compare the effect of half a voxel's motion, so that mm, rad and weights weigh alike
    assert np.linalg.norm((found - expected) * scaled) < 0.02 * np.linalg.norm(expected * scaled)


def gradient_of(decoder, tau, upstream):
    """d<upstream, decoder(tau)>/d tau for one heart."""
    variable = tf.constant(tau[None], tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(variable)
        value = tf.reduce_sum(decoder(variable)[0] * upstream)
    return tape.gradient(value, variable)[0].numpy()


def random_pose(rng, n):
    return np.concatenate([rng.normal(0, 0.7, n - 7), rng.normal(0, 0.2, 3), rng.normal(0, 3, 3), [0.1]])


def smooth_upstream(rng, decoder):
    channels = (7,) if decoder.labels == "regions" else ()
    noise = rng.standard_normal((*GRID.shape, *channels))
    return gaussian_filter(noise, 3, axes=(0, 1, 2)).astype(np.float32)


@pytest.mark.parametrize("slices", [slice(None), slice(15, 16), slice(4, 20, 7), slice(0, 0)])
def test_fused_differences_are_those_of_the_operator(either, rng, slices):
    """The products are formed without volumes; with volumes, in float64, they are the same, on any slices."""
    tau = random_pose(rng, either.n_parameters)
    upstream = np.zeros_like(smooth_upstream(rng, either))
    upstream[slices] = smooth_upstream(rng, either)[slices]
    expected = []
    for step in np.diag(either.steps.astype(np.float64)):
        ends = [either(tf.constant((tau + s)[None], tf.float32))[0].numpy().astype(np.float64) for s in (step, -step)]
        expected.append(np.vdot(upstream.astype(np.float64), ends[0] - ends[1]) / (2 * step.sum()))
    found = gradient_of(either, tau, upstream)
    np.testing.assert_allclose(found * either.steps, expected * either.steps, rtol=2e-4, atol=2e-4)


def test_both_gradients_agree_on_random_poses(either, rng):
    fine = [
        ShapeDecoder(either.ssm, GRID, name, labels=either.labels, rows_per_voxel=4)
        for name in ("finite_difference", "surface")
    ]
    for _ in range(3):
        tau, upstream = random_pose(rng, either.n_parameters), smooth_upstream(rng, either)
        differences, integral = (gradient_of(d, tau, upstream) * either.steps for d in fine)
        assert np.linalg.norm(differences - integral) < 0.04 * np.linalg.norm(differences)


def test_gradient_of_a_batch_is_that_of_each(either, rng):
    tau = np.stack([random_pose(rng, either.n_parameters) for _ in range(2)])
    upstream = np.stack([smooth_upstream(rng, either) for _ in range(2)])
    for name in ("finite_difference", "surface"):
        each = ShapeDecoder(either.ssm, GRID, name, labels=either.labels)
        variable = tf.constant(tau, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = tf.reduce_sum(each(variable) * upstream)
        together = tape.gradient(value, variable)
        alone = [gradient_of(each, t, u) for t, u in zip(tau, upstream, strict=True)]
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-3)


def test_points_follow_the_pose(decoder, rng):
    tau = random_pose(rng, decoder.n_parameters)
    found = decoder.points_mm(tf.constant(tau[None], tf.float32))[0]
    np.testing.assert_allclose(found, numpy_points(decoder.ssm, tau), atol=1e-4)


def test_parameters_that_are_not_numbers_show(decoder):
    assert np.all(np.isnan(decoder(tf.fill((1, 11), np.nan))))
    assert np.all(np.isnan(gradient_of(decoder, np.full(11, np.nan), np.ones(GRID.shape, np.float32))))


@pytest.mark.parametrize("gradient", ["finite_difference", "surface"])
def test_overlap_gets_no_gradient(gradient):
    """A ball inside another one does not change their union."""
    points, faces, region_id = population()
    hidden = points.copy()
    hidden[:, region_id == 2] = 0.3 * (points[:, region_id == 1] - points[:, region_id == 1].mean(1, keepdims=True))
    hidden[:, region_id == 2] += points[:, region_id == 1].mean(1, keepdims=True)
    decoder = ShapeDecoder(StatisticalShapeModel.fit(hidden, faces, region_id, n_modes=2), GRID, gradient)
    tau = tf.zeros((1, 9))
    with tf.GradientTape() as tape:
        tape.watch(tau)
        union = decoder(tau)
        volume = tf.reduce_sum(union)
    scale = tape.gradient(volume, tau)[0, -1]
    assert float(tf.reduce_max(union)) <= 1.0
    assert float(scale) == pytest.approx(3 * float(volume), rel=0.02)  # d(volume)/d(log scale) of the outer ball alone


def test_decoder_traces_once_for_a_batch(decoder):
    traced = tf.function(decoder)
    first, second = traced(tf.zeros((2, 11))), traced(tf.ones((2, 11)) * 0.1)
    assert first.shape == (2, 32, 32, 32)
    assert traced.experimental_get_tracing_count() == 1
    assert not np.allclose(first, second)


def test_label_map_covers_the_occupancy(decoder):
    tau = tf.zeros((1, 11))
    labels = decoder.label_map(tau)
    assert labels.dtype == tf.uint8
    assert set(np.unique(labels)) == {0, 1, 2}
    np.testing.assert_array_equal(labels > 0, decoder(tau) > 0.5)


def test_wrong_length_is_refused(decoder):
    with pytest.raises(InputError, match=r"tau: found shape \(1, 21\); expected \(batch, 11\)"):
        decoder(tf.zeros((1, 21)))


def test_step_must_be_positive(decoder):
    with pytest.raises(InputError, match="step_voxels"):
        ShapeDecoder(decoder.ssm, GRID, step_voxels=0)


def test_regions_add_up_to_the_heart(either, rng):
    tau = tf.constant(random_pose(rng, either.n_parameters)[None], tf.float32)
    heart, regions = (ShapeDecoder(either.ssm, GRID, labels=labels)(tau) for labels in ("heart", "regions"))
    assert regions.shape == (1, *GRID.shape, 7)
    np.testing.assert_allclose(tf.reduce_sum(regions, axis=-1), heart, atol=1e-6)


def test_regions_of_a_shape_model_that_lacks_some_are_refused(decoder):
    expected = (
        "labels: found 'regions' with a shape model without LA, RA, myocardium, aorta, PA; expected a shape model"
    )
    with pytest.raises(InputError, match=expected):
        ShapeDecoder(decoder.ssm, GRID, labels="regions")


def test_unknown_labels_are_refused(decoder):
    with pytest.raises(InputError, match="labels: found 'chambers'; expected 'heart' or 'regions'"):
        ShapeDecoder(decoder.ssm, GRID, labels="chambers")


def test_unknown_gradient_is_refused(decoder):
    with pytest.raises(InputError, match="gradient"):
        ShapeDecoder(decoder.ssm, GRID, "magic")
