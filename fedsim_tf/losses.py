"""The losses of all stages, computed in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from fedsim_tf.regions import WHOLE_HEART

PERCEPTUAL_WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)  # relu1_1 ... relu5_1 (Park et al. 2019)
# Park's VGG sees images in [-1, 1], Caffe's weights see grey levels. Features are put back to the scale of the images,
# or the perceptual loss, with Park's weight, would drown the discriminator's part.
GREY_LEVELS_PER_UNIT = 127.5
UNION_WEIGHT = 0.5  # of the heart as a whole in L_IoU by region; the other half is the mean over regions
Maps = Sequence[Sequence[tf.Tensor]]  # scale, then level
Features = Callable[[tf.Tensor], Sequence[tf.Tensor]]  # images (B, y, x, 1) to feature maps


def iou_loss(found: tf.Tensor, truth: tf.Tensor, *, union_weight: float | tf.Tensor = UNION_WEIGHT) -> tf.Tensor:
    """Return L_IoU of soft occupancies: the mean over volumes of 1 - sum(Y Y') / sum(Y + Y' - Y Y').

    By region, a volume's loss is the mean over the regions that are present in its true label, with weight
    1 - `union_weight`, and with `union_weight` that of their union, the heart. Where no region is present it is that of
    the union. If one of the two has regions and the other has not, as at a site with binary labels, unions are
    compared. By region, no gradient goes to the truth.

    Args:
      found, truth: (B, z, y, x), or by region (B, z, y, x, R), where regions add up to the heart.
      union_weight: from 0 to 1, one or one for each volume (B,); it says nothing where unions alone are compared.
    """
    found, truth = tf.cast(found, tf.float32), tf.cast(truth, tf.float32)
    if found.shape.rank == truth.shape.rank == 5:
        return tf.reduce_mean(_iou_losses_by_region(found, truth, union_weight))
    found, truth = (tf.reshape(merge_regions(part), (tf.shape(part)[0], -1)) for part in (found, truth))
    # A product of matrices: voxelwise products of volumes would take as long as the voxelization.
    intersection = tf.matmul(found[:, None], truth[:, :, None])[:, 0, 0]
    return tf.reduce_mean(_iou_losses(intersection, tf.reduce_sum(found, axis=1), tf.reduce_sum(truth, axis=1)))


def merge_regions(occupancy: tf.Tensor) -> tf.Tensor:
    """Return the heart (B, z, y, x) of regions (B, z, y, x, R), which add up to it; a heart stays as it is."""
    return tf.reduce_sum(occupancy, axis=-1) if occupancy.shape.rank == 5 else occupancy


def _iou_losses_by_region(found: tf.Tensor, truth: tf.Tensor, union_weight: float | tf.Tensor) -> tf.Tensor:
    """Return the loss (B,) of each volume from regions (B, z, y, x, R)."""
    found, truth = (tf.reshape(part, (tf.shape(part)[0], -1, part.shape[-1])) for part in (found, truth))
    overlaps, found_sums, truth_sums = _overlaps(found, tf.stop_gradient(truth))
    by_region = _iou_losses(tf.linalg.diag_part(overlaps), found_sums, truth_sums)
    # The product of two sums of regions is the sum of the products of all pairs.
    union = _iou_losses(
        tf.reduce_sum(overlaps, axis=(1, 2)), tf.reduce_sum(found_sums, axis=1), tf.reduce_sum(truth_sums, axis=1)
    )
    present = tf.cast(truth_sums > 0, tf.float32)
    count = tf.reduce_sum(present, axis=1)
    mean = tf.where(count > 0, tf.math.divide_no_nan(tf.reduce_sum(by_region * present, axis=1), count), union)
    return union_weight * union + (1.0 - union_weight) * mean


@tf.custom_gradient
def _overlaps(found: tf.Tensor, truth: tf.Tensor):
    """Return sums over voxels (B, N, R): products of each pair of regions (B, R, R), and both sides' own (B, R).

    Volumes by region are large. Products of matrices read them once, and the gradient is made in one piece.
    """
    ones = tf.ones_like(found[:, :, :1])
    overlaps = tf.matmul(found, truth, transpose_a=True)
    found_sums, truth_sums = (tf.matmul(part, ones, transpose_a=True)[..., 0] for part in (found, truth))

    def gradient(of_overlaps: tf.Tensor, of_found_sums: tf.Tensor, _of_truth_sums: tf.Tensor):
        return tf.matmul(truth, of_overlaps, transpose_b=True) + of_found_sums[:, None], None

    return (overlaps, found_sums, truth_sums), gradient


def _iou_losses(intersection: tf.Tensor, found_sum: tf.Tensor, truth_sum: tf.Tensor) -> tf.Tensor:
    """Return 1 - IoU from sums over voxels; it is 1 where both are empty."""
    return 1.0 - tf.math.divide_no_nan(intersection, found_sum + truth_sum - intersection)


def perceptual_loss(found: Sequence[tf.Tensor], target: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the weighted mean absolute difference of five feature maps, on the scale of images in [-1, 1].

    No gradient goes to the target.

    Args:
      found, target: features of grey levels, as `VGG19Features` gives them.
    """
    terms = [
        weight * tf.reduce_mean(tf.abs(tf.cast(a, tf.float32) - tf.stop_gradient(tf.cast(b, tf.float32))))
        for weight, a, b in zip(PERCEPTUAL_WEIGHTS, found, target, strict=True)
    ]
    return tf.add_n(terms) / GREY_LEVELS_PER_UNIT


def material_losses(
    features: Features, found: tf.Tensor, target: tf.Tensor, target_features: Sequence[tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the two parts of L_M for coarse CTs: the mean squared error, and the perceptual loss slice by slice.

    Args:
      features: makes feature maps of slices.
      found, target: coarse CTs (B, z, y, x).
      target_features: `slice_features(features, target)`. Targets stay what they are all through training, so that
        their features are found once.
    """
    return tf.reduce_mean(tf.square(found - target)), perceptual_loss(slice_features(features, found), target_features)


def slice_features(features: Features, volumes: tf.Tensor) -> list[tf.Tensor]:
    """Return the feature maps (B, z, y', x', C) of the slices of volumes (B, z, y, x)."""
    batch, depth, height, width = volumes.shape
    maps = features(tf.reshape(volumes, (-1, height, width, 1)))
    return [tf.reshape(level, (-1 if batch is None else batch, depth, *level.shape[1:])) for level in maps]


def hinge_discriminator_loss(real: Maps, fake: Maps) -> tf.Tensor:
    """Return the hinge loss of the logits, which are each scale's last map, averaged over scales."""
    terms = [
        tf.reduce_mean(tf.nn.relu(1.0 - tf.cast(r[-1], tf.float32)))
        + tf.reduce_mean(tf.nn.relu(1.0 + tf.cast(f[-1], tf.float32)))
        for r, f in zip(real, fake, strict=True)
    ]
    return tf.add_n(terms) / len(terms)


def hinge_generator_loss(fake: Maps) -> tf.Tensor:
    """Return minus the mean logit, averaged over scales."""
    return -tf.add_n([tf.reduce_mean(tf.cast(scale[-1], tf.float32)) for scale in fake]) / len(fake)


def feature_matching_loss(real: Maps, fake: Maps, *, condition_is_learnt: bool, weight: float = 10.0) -> tf.Tensor:
    """Return the mean absolute differences of all maps but the logits, summed over levels and averaged over scales.

    Args:
      real, fake: feature maps of each scale.
      condition_is_learnt: whether what the discriminator sees beside the slices is being learnt. It stands in the real
        maps too, which keep their gradient then. Otherwise they are targets and have none (Park et al. 2019).
      weight: a factor (Park et al. 2019: 10).
    """
    target = tf.identity if condition_is_learnt else tf.stop_gradient
    terms = [
        tf.reduce_mean(tf.abs(tf.cast(f, tf.float32) - target(tf.cast(r, tf.float32))))
        for real_scale, fake_scale in zip(real, fake, strict=True)
        for r, f in zip(real_scale[:-1], fake_scale[:-1], strict=True)
    ]
    return weight / len(real) * tf.add_n(terms)


def dice_loss(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Return the mean of 1 - soft Dice over volumes (B, z, y, x, 1) (Milletari et al. 2016)."""
    return tf.reduce_mean(_dice_losses(logits, truth))


def _dice_losses(logits: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
    """Return 1 - soft Dice of each volume (B,), smoothed by one voxel."""
    probability = tf.sigmoid(tf.cast(logits, tf.float32))
    axes = list(range(1, logits.shape.rank))
    both = 2.0 * tf.reduce_sum(probability * truth, axis=axes)
    total = tf.reduce_sum(probability + truth, axis=axes)
    return 1.0 - (both + 1.0) / (total + 1.0)


def segmentation_loss(logits: tf.Tensor, truth: tf.Tensor, *, heart_weight: float = 1.0) -> tf.Tensor:
    """Return cross-entropy plus Dice loss; the latter balances the heart, or its regions, and the background.

    Of heart or not these are the binary cross-entropy and the Dice loss of the heart. By region they are the
    cross-entropy of the softmax and the mean Dice loss of the regions (`region_dice_losses`). Where the network has
    regions and a true label is a heart as a whole, as at a site with binary labels, the hearts are compared: the
    network's probability of the heart is that of all regions together.

    Args:
      logits: (B, z, y, x, 1), or by region (B, z, y, x, 1 + R), the background first.
      truth: (B, z, y, x, 1): heart or not; or for logits by region integers, region ids, where region 1 alone is a
        heart as a whole.
      heart_weight: weight of the heart's voxels, of all its regions alike, in the cross-entropy.
    """
    logits, truth = tf.cast(logits, tf.float32), tf.convert_to_tensor(truth)
    if logits.shape[-1] > 1 and truth.dtype.is_integer:
        return _region_segmentation_loss(logits, truth[..., 0], heart_weight)
    logits, truth = heart_logits(logits), tf.cast(truth, tf.float32)
    return tf.reduce_mean(_heart_entropy(logits, truth, heart_weight)) + dice_loss(logits, truth)


def heart_logits(logits: tf.Tensor) -> tf.Tensor:
    """Return logits (B, z, y, x, 1) of the heart from those of background and regions (B, z, y, x, 1 + R).

    Their sigmoid is the sum of the regions' softmax. Logits of the heart alone stay as they are.
    """
    if logits.shape[-1] == 1:
        return logits
    return tf.reduce_logsumexp(logits[..., 1:], axis=-1, keepdims=True) - logits[..., :1]


def _heart_entropy(logits: tf.Tensor, truth: tf.Tensor, heart_weight: float) -> tf.Tensor:
    return tf.nn.weighted_cross_entropy_with_logits(labels=truth, logits=logits, pos_weight=heart_weight)


def _region_segmentation_loss(logits: tf.Tensor, ids: tf.Tensor, heart_weight: float) -> tf.Tensor:
    """Return the loss of logits (B, z, y, x, 1 + R) and region ids (B, z, y, x)."""
    heart, of_heart = tf.cast(ids > 0, tf.float32)[..., None], heart_logits(logits)
    whole = tf.reduce_mean(_heart_entropy(of_heart, heart, heart_weight), axis=[1, 2, 3, 4])
    whole += _dice_losses(of_heart, heart)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.cast(ids, tf.int32), logits=logits)
    weights = tf.where(ids > 0, heart_weight, 1.0)
    by_region = tf.reduce_mean(weights * entropy, axis=[1, 2, 3]) + region_dice_losses(logits, ids)
    return tf.reduce_mean(tf.where(tf.reduce_max(ids, axis=[1, 2, 3]) <= WHOLE_HEART, whole, by_region))


def region_dice_losses(logits: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
    """Return for each volume (B,) the mean of 1 - soft Dice over the regions that its true label has; 0 without any.

    A region that it lacks does not count here; the cross-entropy keeps the network from inventing it. Dice is smoothed
    by one voxel, as that of `dice_loss`.

    Args:
      logits: (B, z, y, x, 1 + R), the background first.
      ids: region ids (B, z, y, x), 0 to R.
    """
    channels = logits.shape[-1]
    found, truth = tf.nn.softmax(logits), tf.one_hot(ids, channels, dtype=tf.float32)
    both, found_sums, truth_sums = (
        tf.reduce_sum(part, axis=[1, 2, 3])[:, 1:]
        for part in (found * truth, found, truth)  # (B, R)
    )
    losses = 1.0 - (2.0 * both + 1.0) / (found_sums + truth_sums + 1.0)
    present = tf.cast(truth_sums > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * present, axis=1), tf.reduce_sum(present, axis=1))
