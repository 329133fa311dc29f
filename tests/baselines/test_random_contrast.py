"""Volumes of random contrasts: tissues told apart, moved and painted, and whose heart the label shows."""

import numpy as np
import pytest

from fedsim_tf.baselines import random_contrast
from fedsim_tf.baselines.random_contrast import RandomContrastSite, move_at_random, paint_tissues, tell_tissues_apart
from fedsim_tf.metrics import dice
from fedsim_tf.regions import REGION_IDS
from tests.training.region_site import region_config, region_learner
from tests.training.toy_site import toy_config, toy_learner


@pytest.fixture(scope="module")
def learner():
    return toy_learner(toy_config())


def half_and_half(shape=(24, 24, 24)):
    tissues = np.zeros(shape, int)
    tissues[:, : shape[1] // 2] = 1
    return tissues


def test_tissues_are_told_apart_by_their_values(rng):
    truth = rng.integers(4, size=(2, 12, 12, 12))
    images = np.array([-0.95, -0.1, 0.05, 0.7])[truth] + 0.01 * rng.standard_normal(truth.shape)
    np.testing.assert_array_equal(tell_tissues_apart(images, rng=rng, tissues=4), truth)


def test_an_image_of_fewer_values_has_fewer_tissues(rng):
    truth = rng.integers(2, size=(1, 8, 8, 8))
    np.testing.assert_array_equal(tell_tissues_apart(truth - 0.5, rng=rng, tissues=6), truth)


def test_each_tissue_has_one_mean_and_contrasts_differ_from_draw_to_draw(rng):
    tissues = half_and_half()
    pairs = []
    for _ in range(20):
        contrast, image = paint_tissues(tissues, rng)
        assert contrast.shape == image.shape == tissues.shape
        assert np.abs(image).max() <= 1.0
        assert image.dtype == np.float32
        means = [np.unique(contrast[tissues == tissue]) for tissue in (0, 1)]
        assert [len(one) for one in means] == [1, 1]
        pairs.append((means[0][0], means[1][0]))
    brighter = [first > second for first, second in pairs]
    assert 0 < sum(brighter) < len(brighter)  # no tissue is always the brighter one


def test_without_blur_shade_and_bend_values_are_normal_around_the_mean(rng, monkeypatch):
    for name in ("BLUR_VOXELS", "GAMMA", "BIAS"):
        monkeypatch.setattr(random_contrast, name, 0.0)
    monkeypatch.setattr(random_contrast, "SPREAD", 0.02)
    contrast, image = paint_tissues(np.zeros((20, 20, 20), int), rng)
    noise = image - contrast
    assert abs(noise.mean()) < 0.002
    assert 0.0 < noise.std() < 0.021


def test_tissues_are_moved_and_none_is_made_up(rng):
    tissues = half_and_half()
    moved = [move_at_random(tissues, rng) for _ in range(10)]
    assert all(set(np.unique(one)) <= {0, 1} and one.shape == tissues.shape for one in moved)
    shares = [one.mean() for one in moved]
    assert 0.2 < np.mean(shares) < 0.8
    assert np.std(shares) > 0.01


def test_volumes_are_the_same_whatever_the_count_and_show_their_label(learner):
    first = list(RandomContrastSite(learner).volumes(2))
    (again,) = RandomContrastSite(learner).volumes(1)
    np.testing.assert_array_equal(first[0].image, again.image)
    assert dice(first[0].label, first[1].label) < 99.0
    for volume in first:
        assert set(np.unique(volume.label)) == {0, 1}
        # Each of the heart's regions has one CT value of its own; those around have as many as there are tissues.
        assert 1 <= len(np.unique(volume.coarse[volume.label > 0])) <= len(REGION_IDS)
        assert len(np.unique(volume.coarse[volume.label == 0])) <= random_contrast.TISSUES


def test_by_region_labels_are_region_ids():
    (volume,) = RandomContrastSite(region_learner(region_config())).volumes(1)
    regions = set(np.unique(volume.label)) - {0}
    assert len(regions) > 4
    assert regions <= set(REGION_IDS)
    for region in regions:
        assert len(np.unique(volume.coarse[volume.label == region])) == 1
