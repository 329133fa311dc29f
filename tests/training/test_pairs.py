import numpy as np
import tensorflow as tf

from fedsim_tf.training.pairs import augment_pairs

BATCH, SIZE = 64, 8


def pairs(rng):
    """Random semantics and slices, small enough that no change of contrast is clipped."""
    semantics = rng.uniform(-0.5, 0.5, (BATCH, SIZE, SIZE, 3)).astype(np.float32)
    return semantics, rng.uniform(-0.5, 0.5, (BATCH, SIZE, SIZE)).astype(np.float32)


def changed(semantics, real, seed, **options):
    return [np.array(part) for part in augment_pairs(semantics, real, tf.constant([seed, 3], tf.int32), **options)]


def test_about_half_of_the_pairs_are_mirrored_both_parts_together(rng):
    semantics, real = pairs(rng)
    new_semantics, new_real = changed(semantics, real, 0, flip=True, intensity=0.0)
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(new_real, real, strict=True)]
    for one, new, old, image, before in zip(mirrored, new_semantics, semantics, new_real, real, strict=True):
        np.testing.assert_array_equal(new, old[:, ::-1] if one else old)
        np.testing.assert_array_equal(image, before[:, ::-1] if one else before)
    assert 16 < sum(mirrored) < 48


def test_gain_and_offset_are_those_of_a_pair_and_leave_label_and_position_alone(rng):
    semantics, real = pairs(rng)
    new_semantics, new_real = changed(semantics, real, 1, flip=False, intensity=0.1)
    np.testing.assert_array_equal(new_semantics[..., 1:], semantics[..., 1:])
    found = []
    for new, old, image, before in zip(new_semantics[..., 0], semantics[..., 0], new_real, real, strict=True):
        gain, offset = np.polyfit(before.ravel(), image.ravel(), 1)
        np.testing.assert_allclose(image, before * gain + offset, atol=1e-5)
        np.testing.assert_allclose(new, old * gain + offset, atol=1e-5)
        found.append((gain - 1.0, offset))
    for values in np.transpose(found):
        assert np.abs(values).max() <= 0.1 + 1e-6
        assert values.min() < -0.05
        assert values.max() > 0.05
    assert abs(np.corrcoef(np.transpose(found))[0, 1]) < 0.4


def test_real_slices_stay_within_the_networks_range(rng):
    semantics, real = pairs(rng)
    _, new_real = changed(semantics, 2 * real, 2, flip=True, intensity=0.5)
    assert new_real.min() == -1.0
    assert new_real.max() == 1.0


def test_the_seed_decides(rng):
    semantics, real = pairs(rng)
    first, again, other = (changed(semantics, real, seed, flip=True, intensity=0.1)[1] for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
    off = changed(semantics, real, 5, flip=False, intensity=0.0)
    np.testing.assert_array_equal(off[0], semantics)
    np.testing.assert_array_equal(off[1], real)
