import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from fedsim_tf.baselines.blending import alpha_blend, poisson_blend

SHAPE = (2, 12, 14)


@pytest.fixture
def mask():
    """A different region in each slice, one of them at the slice's border."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[0, 3:8, 4:10] = 1
    mask[1, 5:, 8:] = 1
    return mask


@pytest.fixture
def background(rng):
    return rng.uniform(-1, 1, SHAPE).astype(np.float32)


def test_poisson_blend_of_an_image_with_itself_changes_nothing(background, mask):
    np.testing.assert_allclose(poisson_blend(background, background, mask), background, atol=1e-5)


def test_poisson_blend_takes_the_foregrounds_gradients_and_not_its_level(background, mask):
    np.testing.assert_allclose(poisson_blend(background + 0.7, background, mask), background, atol=1e-5)


def test_poisson_blend_of_a_flat_foreground_is_harmonic(mask):
    """With no gradient to keep, the border's values go on inside: a linear background stays what it is."""
    y, x = np.meshgrid(np.arange(SHAPE[1]), np.arange(SHAPE[2]), indexing="ij")
    background = np.broadcast_to(0.03 * y - 0.05 * x, SHAPE)
    blended = poisson_blend(np.full(SHAPE, 0.4), background, mask)
    np.testing.assert_allclose(blended[0], background[0], atol=1e-5)


def test_poisson_blend_solves_its_equation(rng, background, mask):
    """The dense system of the second slice, written out voxel by voxel."""
    foreground = rng.uniform(-1, 1, SHAPE)
    inside = np.argwhere(mask[1])
    number = {tuple(voxel): i for i, voxel in enumerate(inside)}
    matrix, right = np.zeros((len(inside),) * 2), np.zeros(len(inside))
    for (y, x), i in number.items():
        for beside in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if not (0 <= beside[0] < SHAPE[1] and 0 <= beside[1] < SHAPE[2]):
                continue
            matrix[i, i] += 1
            right[i] += foreground[1, y, x] - foreground[1][beside]
            if beside in number:
                matrix[i, number[beside]] -= 1
            else:
                right[i] += background[1][beside]
    expected = background[1].copy()
    expected[tuple(inside.T)] = np.linalg.solve(matrix, right)
    np.testing.assert_allclose(poisson_blend(foreground, background, mask)[1], expected, atol=1e-5)


@pytest.mark.parametrize("blend", [alpha_blend, poisson_blend])
def test_outside_the_mask_and_without_one_the_background_stays(rng, background, mask, blend):
    foreground = rng.uniform(-1, 1, SHAPE).astype(np.float32)
    far = np.ones(SHAPE, bool)
    far[0, :13, 0:14] = far[1, 1:, 4:] = False
    np.testing.assert_allclose(blend(foreground, background, mask)[far], background[far], atol=1e-6)
    np.testing.assert_array_equal(blend(foreground, background, np.zeros(SHAPE)), background)


def test_alpha_blend_is_the_foreground_deep_inside_and_half_at_a_straight_edge():
    mask = np.zeros((1, 30, 30), np.uint8)
    mask[:, :, 15:] = 1
    blended = alpha_blend(np.ones(mask.shape), np.zeros(mask.shape), mask)
    np.testing.assert_allclose(blended[0, :, 25], 1.0, atol=1e-6)
    np.testing.assert_allclose(blended[0, :, 14] + blended[0, :, 15], 1.0, atol=1e-6)
    assert np.all(np.diff(blended[0], axis=1) >= -1e-7)


def test_poisson_blend_with_a_rim_keeps_an_objects_level_where_both_bodies_are_alike():
    """A blurred disc of 0.3 in lung, drawn into the same lung without one: masks that end on its edge shift it."""
    y, x = np.indices((40, 40)) - 20
    disc = (y**2 + x**2 < 100).astype(np.float32)
    lung = np.full((1, 40, 40), -0.8, np.float32)
    object_ = lung + 1.1 * gaussian_filter(disc, 1.0)
    tight, wide = (poisson_blend(object_, lung, disc[None], rim_voxels=rim)[0, 20, 20] for rim in (0, 4))
    assert wide == pytest.approx(0.3, abs=0.02)
    assert abs(tight - 0.3) > 0.2


def test_a_slice_that_is_all_foreground_is_the_foreground(rng, background):
    foreground = rng.uniform(-1, 1, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(poisson_blend(foreground, background, np.ones(SHAPE)), foreground)
