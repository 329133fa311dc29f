import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score, hinge_loss, jaccard_score, log_loss

from fedsim_tf import losses

LEVEL_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1)  # Park et al. 2019


def check_by_differences(loss, numpy_loss, values):
    """Check that a loss is NumPy's, and that its gradient is NumPy's by central differences."""
    variable = tf.Variable(values, dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = loss(variable)
    assert float(value) == pytest.approx(numpy_loss(values), rel=1e-5)
    gradient = tape.gradient(value, variable).numpy()
    for index in np.ndindex(values.shape):
        step = np.zeros_like(values)
        step[index] = 1e-5
        expected = (numpy_loss(values + step) - numpy_loss(values - step)) / 2e-5
        assert gradient[index] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def random_masks(rng, count=2, edge=5):
    return (rng.random((count, edge, edge, edge)) < 0.4).astype(np.float32)


def feature_maps(rng, widths=(3, 4, 5)):
    """Two scales of a discriminator with maps of different sizes."""
    return [[rng.normal(size=(2, n, n, 2)).astype(np.float32) for n in (scale * w for w in widths)] for scale in (2, 1)]


def test_iou_loss_is_zero_for_equal_and_one_for_disjoint_masks(rng):
    mask = random_masks(rng)
    assert float(losses.iou_loss(mask, mask)) == pytest.approx(0, abs=1e-6)
    assert float(losses.iou_loss(mask, 1 - mask)) == pytest.approx(1, abs=1e-6)


def test_iou_loss_of_masks_is_one_minus_the_jaccard_index(rng):
    found, truth = random_masks(rng), random_masks(rng)
    expected = 1 - np.mean([jaccard_score(t.ravel(), f.ravel()) for f, t in zip(found, truth, strict=True)])
    assert float(losses.iou_loss(found, truth)) == pytest.approx(expected, rel=1e-5)


def test_iou_loss_sums_before_the_ratio():
    truth = np.zeros((1, 2, 2, 2), np.float32)
    truth[0, 0] = 1
    assert float(losses.iou_loss(np.full_like(truth, 0.5), truth)) == pytest.approx(1 - 2 / 6, rel=1e-6)


def test_iou_loss_averages_volumes_and_not_voxels():
    truth = np.zeros((2, 4, 4, 4), np.float32)
    truth[0], truth[1, 0, 0, 0] = 1, 1
    found = truth.copy()
    found[1] = 0
    assert float(losses.iou_loss(found, truth)) == pytest.approx(0.5, abs=1e-6)


def test_iou_gradient_agrees_with_finite_differences(rng):
    found, truth = rng.uniform(0.2, 0.8, (2, 2, 3, 2)), random_masks(rng)[:, :2, :3, :2].astype(np.float64)
    variable = tf.Variable(found, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = losses.iou_loss(variable, truth)
    gradient = tape.gradient(loss, variable).numpy()

    def numpy_loss(y):
        intersection = (y * truth).sum((1, 2, 3))
        return np.mean(1 - intersection / (y + truth - y * truth).sum((1, 2, 3)))

    for index in np.ndindex(found.shape):
        step = np.zeros_like(found)
        step[index] = 1e-5
        expected = (numpy_loss(found + step) - numpy_loss(found - step)) / 2e-5
        assert gradient[index] == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_iou_loss_of_empty_volumes_has_a_finite_gradient():
    empty = tf.Variable(tf.zeros((1, 3, 3, 3)))
    with tf.GradientTape() as tape:
        loss = losses.iou_loss(empty, tf.zeros((1, 3, 3, 3)))
    assert math.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, empty)).all()


def test_iou_loss_does_not_overflow_in_half_precision():
    ones = tf.ones((1, 48, 48, 48), tf.float16)
    loss = losses.iou_loss(ones, ones)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(0, abs=1e-6)


def one_hot(labels):
    """Regions (..., 7) of region ids; channel r - 1 is that of region r."""
    return (labels[..., None] == np.arange(1, 8)).astype(np.float32)


def region_example():
    """Two volumes of 1 x 1 x 8 voxels; the second has region 3 alone. Found, truth and each one's IoU by hand."""
    truth = one_hot(np.array([[1, 1, 1, 1, 2, 2, 0, 0], [3, 3, 0, 0, 0, 0, 0, 0]]).reshape(2, 1, 1, 8))
    found = one_hot(np.array([[1, 1, 1, 2, 2, 7, 7, 0], [3, 0, 0, 0, 0, 0, 5, 5]]).reshape(2, 1, 1, 8))
    return found, truth


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_iou_loss_by_region_by_hand(weight):
    """Regions that the true label lacks do not count, but what is found of them counts in the union."""
    first = (1 - weight) * (1 - (3 / 4 + 1 / 3) / 2) + weight * (1 - 6 / 7)
    second = (1 - weight) * (1 - 1 / 2) + weight * (1 - 1 / 4)
    found = losses.iou_loss(*region_example(), union_weight=weight)
    assert float(found) == pytest.approx((first + second) / 2, rel=1e-6)


def test_union_and_regions_weigh_alike():
    pair = region_example()
    both = [float(losses.iou_loss(*pair, union_weight=weight)) for weight in (0.0, 1.0)]
    assert float(losses.iou_loss(*pair)) == pytest.approx(np.mean(both), rel=1e-6)


def soft_regions(rng, shape=(2, 3, 2, 3)):
    """Fractions of seven regions that do not fill a voxel together."""
    parts = rng.uniform(0.1, 1.0, (*shape, 8))
    return (parts / parts.sum(axis=-1, keepdims=True))[..., :7]


def test_the_part_of_the_union_is_the_loss_of_the_summed_regions(rng):
    found, truth = soft_regions(rng), one_hot(rng.integers(0, 8, (2, 3, 2, 3)))
    expected = losses.iou_loss(found.sum(axis=-1), truth.sum(axis=-1))
    assert float(losses.iou_loss(found, truth, union_weight=1.0)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_gradient_of_the_iou_by_region_agrees_with_finite_differences(rng, weight):
    """One volume lacks three regions, the other has one alone."""
    found = soft_regions(rng)
    labels = rng.integers(0, 5, (2, 3, 2, 3))
    labels[1] = np.where(labels[1] == 2, 2, 0)
    truth = one_hot(labels).astype(np.float64)

    def numpy_loss(y):
        def loss(y, t):
            return 1 - (y * t).sum() / (y + t - y * t).sum()

        each = [
            (1 - weight) * np.mean([loss(v[..., r], t[..., r]) for r in range(7) if t[..., r].any()])
            + weight * loss(v.sum(axis=-1), t.sum(axis=-1))
            for v, t in zip(y, truth, strict=True)
        ]
        return np.mean(each)

    check_by_differences(lambda y: losses.iou_loss(y, truth, union_weight=weight), numpy_loss, found)


def test_a_site_with_binary_labels_has_the_loss_of_the_union(rng):
    found, truth = soft_regions(rng), random_masks(rng)[:, :3, :2, :3]
    expected = float(losses.iou_loss(found.sum(axis=-1), truth))
    assert float(losses.iou_loss(found, truth, union_weight=0.0)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.iou_loss(truth, found)) == pytest.approx(expected, rel=1e-5)


def test_a_label_without_any_region_has_the_loss_of_the_union(rng):
    variable = tf.Variable(soft_regions(rng), dtype=tf.float32)
    with tf.GradientTape() as tape:
        value = losses.iou_loss(variable, tf.zeros_like(variable), union_weight=0.0)
    assert float(value) == pytest.approx(1.0)
    assert np.isfinite(tape.gradient(value, variable)).all()


def test_perceptual_loss_weighs_the_five_levels():
    differences = (2.0, 3.0, 5.0, 7.0, 11.0)
    found = [tf.fill((1, 6 - i, 6 - i, i + 1), 1.0 + d) for i, d in enumerate(differences)]
    target = [tf.ones_like(maps) for maps in found]
    expected = np.dot(LEVEL_WEIGHTS, differences) / 127.5  # 127.5 grey levels are one unit of the images
    assert float(losses.perceptual_loss(found, target)) == pytest.approx(expected, rel=1e-6)
    assert float(losses.perceptual_loss(target, found)) == pytest.approx(expected, rel=1e-6)


def test_perceptual_loss_of_too_few_levels_is_an_error():
    maps = [tf.ones((1, 2, 2, 1))] * 4
    with pytest.raises(ValueError):
        losses.perceptual_loss(maps, maps)


def test_perceptual_loss_detaches_the_target(rng):
    found = [tf.Variable(rng.normal(size=(1, 4, 4, 2)), dtype=tf.float32) for _ in range(5)]
    target = [tf.Variable(rng.normal(size=(1, 4, 4, 2)), dtype=tf.float32) for _ in range(5)]
    with tf.GradientTape() as tape:
        loss = losses.perceptual_loss(found, target)
    to_found, to_target = tape.gradient(loss, [found, target])
    assert to_target == [None] * 5
    for gradient, a, b, weight in zip(to_found, found, target, LEVEL_WEIGHTS, strict=True):
        np.testing.assert_allclose(gradient, weight * np.sign(a.numpy() - b.numpy()) / 32 / 127.5, rtol=1e-6)


def test_material_losses_look_at_slices_one_by_one(rng):
    found, target = (rng.normal(size=(2, 6, 6, 6)).astype(np.float32) for _ in range(2))

    def edges(images):
        assert images.shape == (12, 6, 6, 1)
        return [level * tf.abs(images[:, 1:] - images[:, :-1]) for level in range(1, 6)]

    features = losses.slice_features(edges, tf.constant(target))
    squared, perceptual = losses.material_losses(edges, tf.constant(found), tf.constant(target), features)
    edge_difference = np.mean(np.abs(np.abs(np.diff(found, axis=2)) - np.abs(np.diff(target, axis=2))))
    assert float(squared) == pytest.approx(((found - target) ** 2).mean(), rel=1e-5)
    assert float(perceptual) == pytest.approx(np.dot(LEVEL_WEIGHTS, range(1, 6)) * edge_difference / 127.5, rel=1e-5)


def test_material_losses_reach_only_the_found_volume(rng):
    found, target = (tf.Variable(rng.normal(size=(1, 4, 4, 4)), dtype=tf.float32) for _ in range(2))
    with tf.GradientTape() as tape:
        squares = lambda images: [tf.square(images)] * 5  # noqa: E731
        _, perceptual = losses.material_losses(squares, found, target, losses.slice_features(squares, target))
    to_found, to_target = tape.gradient(perceptual, [found, target])
    assert np.abs(to_found).min() > 0
    assert to_target is None


def logits_only(*scales):
    """Discriminator outputs whose earlier maps must not be looked at."""
    return [[tf.fill((1, 3, 3, 2), np.nan), tf.reshape(tf.constant(s, tf.float32), (1, 1, -1, 1))] for s in scales]


def test_hinge_losses_at_known_logits():
    real, fake = logits_only([2.0, 0.5], [-1.0]), logits_only([-3.0, 0.5], [0.0])
    assert float(losses.hinge_discriminator_loss(real, fake)) == pytest.approx(((0.25 + 0.75) + (2 + 1)) / 2)
    assert float(losses.hinge_generator_loss(fake)) == pytest.approx((1.25 + 0) / 2)


def test_discriminator_hinge_agrees_with_scikit_learn(rng):
    real, fake = (rng.normal(size=20).astype(np.float32) for _ in range(2))
    expected = 2 * hinge_loss([1] * 20 + [-1] * 20, np.concatenate([real, fake]))
    assert float(losses.hinge_discriminator_loss(logits_only(real), logits_only(fake))) == pytest.approx(expected)


def test_hinge_gives_no_gradient_beyond_the_margin():
    real, fake = tf.Variable([[[[1.5], [0.5]]]]), tf.Variable([[[[-1.5], [-0.5]]]])
    with tf.GradientTape() as tape:
        loss = losses.hinge_discriminator_loss([[real]], [[fake]])
    to_real, to_fake = tape.gradient(loss, [real, fake])
    np.testing.assert_allclose(np.ravel(to_real), [0, -0.5])
    np.testing.assert_allclose(np.ravel(to_fake), [0, 0.5])


def test_feature_matching_averages_scales_and_sums_levels(rng):
    real, fake = feature_maps(rng), feature_maps(rng)
    differences = [[np.abs(r - f).mean() for r, f in zip(*pair, strict=True)] for pair in zip(real, fake, strict=True)]
    real, fake = ([[*scale, np.full((2, 2, 2, 1), np.nan, np.float32)] for scale in maps] for maps in (real, fake))
    expected = np.mean([sum(scale) for scale in differences])
    for learnt in (False, True):
        of_maps = functools.partial(losses.feature_matching_loss, real, fake, condition_is_learnt=learnt)
        assert float(of_maps()) == pytest.approx(10 * expected, rel=1e-5)
        assert float(of_maps(weight=3.0)) == pytest.approx(3 * expected, rel=1e-5)


@pytest.mark.parametrize("learnt", [False, True])
def test_feature_matching_reaches_the_real_maps_where_their_condition_is_learnt(rng, learnt):
    real, fake = ([[tf.Variable(m) for m in scale] for scale in feature_maps(rng)] for _ in range(2))
    with tf.GradientTape() as tape:
        loss = losses.feature_matching_loss(real, fake, condition_is_learnt=learnt)
    to_real, to_fake = tape.gradient(loss, [real, fake])
    assert [scale[-1] for scale in (*to_real, *to_fake)] == [None] * 4  # the logits
    for scale in range(2):
        for level in range(2):
            r, f = real[scale][level].numpy(), fake[scale][level].numpy()
            expected = 5 * np.sign(f - r) / f.size
            np.testing.assert_allclose(to_fake[scale][level], expected, rtol=1e-5)
            if learnt:
                np.testing.assert_allclose(to_real[scale][level], -expected, rtol=1e-5)
            else:
                assert to_real[scale][level] is None


def test_dice_loss_at_hand_computed_values():
    truth = np.zeros((1, 2, 2, 2, 1), np.float32)
    truth[0, 0] = 1
    assert float(losses.dice_loss(tf.zeros_like(truth), truth)) == pytest.approx(1 - 5 / 9, rel=1e-6)
    assert float(losses.dice_loss(tf.constant(100 * (2 * truth - 1)), truth)) == pytest.approx(0, abs=1e-6)
    assert float(losses.dice_loss(tf.constant(100 * (1 - 2 * truth)), truth)) == pytest.approx(1 - 1 / 9, rel=1e-6)


def test_dice_loss_of_sure_logits_agrees_with_scikit_learn(rng):
    found, truth = random_masks(rng, 3, 16)[..., None], random_masks(rng, 3, 16)[..., None]
    expected = 1 - np.mean([f1_score(t.ravel(), f.ravel()) for f, t in zip(found, truth, strict=True)])
    assert float(losses.dice_loss(tf.constant(200 * found - 100), truth)) == pytest.approx(expected, abs=1e-3)


def test_dice_loss_averages_volumes():
    truth = np.zeros((2, 4, 4, 4, 1), np.float32)
    truth[0], truth[1, 0, 0, 0] = 1, 1
    logits = np.full_like(truth, -100)
    logits[0] = 100
    assert float(losses.dice_loss(tf.constant(logits), truth)) == pytest.approx((0 + 1 - 1 / 2) / 2, abs=1e-6)


def test_segmentation_loss_is_cross_entropy_plus_dice(rng):
    logits = rng.normal(size=(2, 4, 4, 4, 1)).astype(np.float32)
    truth = random_masks(rng, edge=4)[..., None]
    probability = 1 / (1 + np.exp(-logits.astype(np.float64)))
    both, total = (2 * probability * truth).sum((1, 2, 3, 4)), (probability + truth).sum((1, 2, 3, 4))
    expected = log_loss(truth.ravel(), probability.ravel()) + np.mean(1 - (both + 1) / (total + 1))
    assert float(losses.segmentation_loss(logits, truth)) == pytest.approx(expected, rel=1e-5)
    assert float(losses.segmentation_loss(tf.constant(logits), tf.constant(truth, tf.uint8))) == pytest.approx(
        expected, rel=1e-5
    )


@pytest.mark.parametrize("truth", [0.0, 1.0])
def test_segmentation_loss_stays_finite_at_extreme_logits(truth):
    logits = tf.Variable(tf.reshape(tf.constant([-1e4, 1e4] * 4), (1, 2, 2, 2, 1)))
    with tf.GradientTape() as tape:
        loss = losses.segmentation_loss(logits, tf.fill(logits.shape, truth))
    assert 5e3 <= float(loss) <= 5e3 + 1
    assert np.isfinite(tape.gradient(loss, logits)).all()


def test_the_hearts_weight_counts_in_the_cross_entropy_alone(rng):
    logits = rng.normal(size=(2, 3, 3, 3, 1)).astype(np.float32)
    labels = rng.integers(0, 2, logits.shape).astype(np.float32)
    both = tf.constant(logits), tf.constant(labels)
    entropy = np.where(labels > 0, 3.0 * np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
    found = losses.segmentation_loss(*both, heart_weight=3.0) - losses.dice_loss(*both)
    assert float(found) == pytest.approx(entropy.mean(), rel=1e-5)


def logits_of(probabilities):
    return tf.math.log(tf.constant(probabilities, tf.float32))


def region_logits_example():
    """Two volumes of four voxels, two regions: background, 1, 1, 2; and background twice, 2, 2."""
    first = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]
    second = [[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.4, 0.2, 0.4]]
    ids = np.array([[0, 1, 1, 2], [0, 0, 2, 2]], np.uint8).reshape(2, 1, 1, 4)
    return logits_of(np.reshape([first, second], (2, 1, 1, 4, 3))), ids


def test_region_dice_losses_by_hand():
    """Dice smoothed by one voxel; the second volume has region 2 alone, so that only this one counts there."""
    logits, ids = region_logits_example()
    one = 1 - (2 * (0.8 + 0.25) + 1) / (0.2 + 0.8 + 0.25 + 0.2 + 2 + 1)
    two = 1 - (2 * 0.6 + 1) / (0.1 + 0.1 + 0.25 + 0.6 + 1 + 1)
    alone = 1 - (2 * (0.8 + 0.4) + 1) / (0.05 + 0.1 + 0.8 + 0.4 + 2 + 1)
    np.testing.assert_allclose(losses.region_dice_losses(logits, tf.constant(ids)), [(one + two) / 2, alone], rtol=1e-6)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_segmentation_loss_by_region_by_hand(weight):
    logits, ids = region_logits_example()
    heart = np.log(0.8) + np.log(0.25) + np.log(0.6) + np.log(0.8) + np.log(0.4)
    entropy = -(np.log(0.7) + np.log(0.9) + np.log(0.8) + weight * heart) / 8
    dice = np.mean(losses.region_dice_losses(logits, tf.constant(ids)))
    found = losses.segmentation_loss(logits, tf.constant(ids)[..., None], heart_weight=weight)
    assert float(found) == pytest.approx(entropy + dice, rel=1e-6)


@pytest.mark.parametrize("weight", [1.0, 3.0])
def test_hearts_as_a_whole_are_compared_as_such_among_labels_with_regions(weight):
    """The second volume has region 1 alone; the probability of its heart is what the background's leaves."""
    logits, ids = region_logits_example()
    ids[1] = ids[1] > 0
    p = np.array([0.1, 0.2, 0.9, 0.6])
    entropy = -(np.log(0.9) + np.log(0.8) + weight * (np.log(0.9) + np.log(0.6))) / 4
    second = entropy + 1 - (2 * (0.9 + 0.6) + 1) / (p.sum() + 2 + 1)
    first = losses.segmentation_loss(logits[:1], tf.constant(ids)[:1, ..., None], heart_weight=weight)
    found = losses.segmentation_loss(logits, tf.constant(ids)[..., None], heart_weight=weight)
    assert float(found) == pytest.approx((float(first) + second) / 2, rel=1e-5)


def test_gradient_of_the_segmentation_loss_by_region_agrees_with_finite_differences(rng):
    """Against differences of a plain NumPy version in float64; one volume lacks regions, one is a heart as a whole."""
    values = rng.normal(size=(3, 2, 1, 2, 8))
    ids = rng.integers(0, 8, (3, 2, 1, 2)).astype(np.uint8)
    ids[1, :, 0], ids[2, :, 0] = [[2, 0], [0, 7]], [[1, 0], [1, 1]]

    def dice(p, true):
        return 1 - (2 * (p * true).sum() + 1) / ((p + true).sum() + 1)

    def numpy_loss(x):
        p = np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)
        truth = np.eye(8)[ids]
        own = (p * truth).sum(axis=-1)
        own[2] = np.where(ids[2] > 0, 1 - p[2, ..., 0], p[2, ..., 0])
        entropy = -np.mean(np.where(ids > 0, 2.5, 1.0) * np.log(own))
        each = [
            np.mean([dice(one[..., r], true[..., r]) for r in range(1, 8) if true[..., r].any()])
            for one, true in zip(p[:2], truth[:2], strict=True)
        ]
        return entropy + np.mean([*each, dice(1 - p[2, ..., 0], ids[2] > 0)])

    own_loss = lambda y: losses.segmentation_loss(y, tf.constant(ids)[..., None], heart_weight=2.5)  # noqa: E731
    check_by_differences(own_loss, numpy_loss, values)


def test_regions_are_compared_with_binary_labels_as_one_heart(rng):
    """The probability of the heart is what the background's leaves."""
    values = rng.normal(size=(2, 2, 3, 2, 8)).astype(np.float32)
    truth = (rng.random((2, 2, 3, 2, 1)) > 0.5).astype(np.float32)
    p = 1 - (np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True))[..., :1]
    expected = losses.segmentation_loss(np.log(p / (1 - p)), tf.constant(truth), heart_weight=2.0)
    found = losses.segmentation_loss(values, tf.constant(truth), heart_weight=2.0)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)
