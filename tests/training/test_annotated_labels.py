"""Labels by region as L_IoU and the enhancement network take them."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.training.annotated_labels import AnnotatedLabels, are_whole_hearts, divide_mask
from tests.training.region_site import region_learner, region_volumes, without_regions


def iou(a, b):
    return np.logical_and(a, b).sum() / np.logical_or(a, b).sum()


def expected_loss(found, truth, whole):
    """L_IoU of label maps from counts of voxels."""
    union = 1 - iou(found > 0, truth > 0)
    if whole:
        return union
    by_region = [1 - iou(found == region, truth == region) for region in range(1, 8) if np.any(truth == region)]
    return 0.5 * union + 0.5 * np.mean(by_region)


def masks(label_maps):
    return tf.constant(label_maps[..., None] == np.arange(1, 8), tf.float32)


@pytest.mark.parametrize("whole", [(), (1,), (0, 1, 2)])
def test_loss_is_that_of_regions_or_where_labels_are_binary_of_the_union(whole):
    truth, found = region_volumes(3, 0), region_volumes(3, 7).regions
    labels = AnnotatedLabels(without_regions(truth, *whole), by_region=True)
    batch = [2, 1]
    expected = [expected_loss(found[k], truth.regions[k], k in whole) for k in batch]
    assert float(labels.iou_loss(masks(found[batch]), tf.constant(batch))) == pytest.approx(np.mean(expected), rel=1e-5)


def test_slices_are_one_hot_and_of_hearts_alone_the_mask():
    volumes = region_volumes(3, 0)
    batch, index = tf.constant([2, 0]), tf.constant([15, 18])
    found = AnnotatedLabels(volumes, by_region=True).slices(batch, index)
    rows = np.stack([volumes.regions[2, 15], volumes.regions[0, 18]])
    np.testing.assert_array_equal(found, rows[..., None] == np.arange(1, 8))
    found = AnnotatedLabels(volumes, by_region=False).slices(batch, index)
    np.testing.assert_array_equal(found, rows > 0)


def test_a_volume_of_another_kind_of_run_counts_as_a_whole_heart():
    volumes = region_volumes(3, 0)
    np.testing.assert_array_equal(are_whole_hearts(volumes.regions), [False] * 3)
    np.testing.assert_array_equal(are_whole_hearts(without_regions(volumes, 0, 2).regions), [True, False, True])


def test_a_mask_is_divided_by_the_nearest_region():
    """A row of voxels, of which the last is outside; the step along x is shorter than those between rows."""
    mask = np.array([[[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 0]]], bool)
    regions = np.zeros((1, 2, 6), np.uint8)
    regions[0, 0, 0], regions[0, 1, 5] = 3, 5
    found = divide_mask(mask, regions, (1.0, 10.0, 1.0))
    np.testing.assert_array_equal(found, [[[3, 3, 3, 3, 3, 0], [5, 5, 5, 5, 5, 0]]])
    np.testing.assert_array_equal(divide_mask(mask, 0 * regions, (1.0, 1.0, 1.0)), mask)


def test_whole_hearts_are_shown_with_the_regions_of_their_fitted_shapes():
    learner = region_learner(whole=(1,))
    volumes = learner.data.labelled
    labels = AnnotatedLabels(volumes, by_region=True)
    before = labels.iou_loss(masks(region_volumes(3, 7).regions), tf.range(3))
    labels.divide_whole_hearts(learner)
    for number in (0, 2):
        np.testing.assert_array_equal(labels.number(number), volumes.regions[number])
    divided = labels.number(1)
    np.testing.assert_array_equal(divided > 0, volumes.labels[1] > 0)
    assert len(np.unique(divided)) > 4
    fitted = learner.model.hard_label(learner.model.labels(learner.labelled_latents.table[1:2]))[0].numpy()
    both = (fitted > 0) & (divided > 0)
    np.testing.assert_array_equal(divided[both], fitted[both])
    assert float(labels.iou_loss(masks(region_volumes(3, 7).regions), tf.range(3))) == float(before)
