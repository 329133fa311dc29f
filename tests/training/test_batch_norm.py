"""Statistics of the enhancement network's normalisation while it samples."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from tests.training.toy_site import toy_learner


def test_they_are_the_mean_over_slices_of_the_training_volumes():
    """Of the first block's input, which is a convolution of the semantics alone."""
    enhancer = (learner := toy_learner()).model.enhancer
    batches = list(training_slices(learner, with_unlabelled=True))
    with settle_statistics(enhancer, batches):
        norm = enhancer.blocks[0].spade_0.norm
        maps = [enhancer.first(tf.image.resize(batch, (4, 4), "nearest")).numpy() for batch in batches]
        mean = np.mean([part.mean(axis=(0, 1, 2)) for part in maps], axis=0)
        spread = np.mean([part.var(axis=(0, 1, 2)) for part in maps], axis=0)
        np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-5)
        count = maps[0][..., 0].size  # moving averages are of the unbiased variance
        np.testing.assert_allclose(norm.moving_variance, spread * count / (count - 1), rtol=1e-3)
    assert len(batches) == 32
    assert {batch.shape for batch in batches} == {(8, 32, 32, 3)}
    assert all(set(np.unique(batch[..., 1])) <= {0.0, 1.0} for batch in batches)


def test_afterwards_the_network_is_as_before():
    enhancer = toy_learner().model.enhancer
    before = enhancer.get_weights()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), settle_statistics(enhancer, [tf.random.uniform((2, 32, 32, 3))]):
            inside = enhancer.get_weights()
            raise KeyboardInterrupt
        for was, now in zip(before, enhancer.get_weights(), strict=True):
            np.testing.assert_array_equal(now, was)
        assert enhancer.blocks[0].spade_0.norm.momentum == 0.9
        assert any(np.any(was != now) for was, now in zip(before, inside, strict=True))


def test_latents_that_have_not_been_learnt_are_left_out():
    learner = toy_learner()
    learner.unlabelled_latents.table.assign(np.nan * learner.unlabelled_latents.table)
    for with_unlabelled in (False, True):
        batches = training_slices(learner, with_unlabelled=with_unlabelled)
        assert all(np.isfinite(batch).all() for batch in batches) is not with_unlabelled
