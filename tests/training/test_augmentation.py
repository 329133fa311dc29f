import numpy as np

from fedsim_tf.training.augmentation import augment


def test_image_and_label_move_together(rng):
    """A bright ball and its mask stay on top of each other whatever the transform."""
    z, y, x = np.meshgrid(*[np.arange(40)] * 3, indexing="ij")
    label = ((z - 17) ** 2 + (y - 22) ** 2 + (x - 20) ** 2 < 81).astype(np.float32)
    image = label * 1.6 - 0.8
    centres = []
    for _ in range(5):
        moved, mask = augment(image, label, rng)
        assert moved.shape == image.shape
        assert moved.dtype == mask.dtype == np.float32
        assert np.abs(moved).max() <= 1.0
        assert set(np.unique(mask)) == {0.0, 1.0}
        bright = moved > 0.5 * (moved.min() + moved.max())
        assert 2 * np.sum(bright & (mask > 0)) / (bright.sum() + mask.sum()) > 0.9
        centres.append(np.argwhere(mask).mean(0))
    assert np.ptp(centres, axis=0).max() > 1.0


def test_region_ids_move_as_the_heart_does_and_stay_ids(rng):
    ids = rng.integers(0, 8, (12, 12, 12)).astype(np.uint8)
    image = rng.uniform(-1, 1, ids.shape).astype(np.float32)
    seed = int(rng.integers(1000))
    _, moved = augment(image, ids, np.random.default_rng(seed))
    assert moved.dtype == np.uint8
    for region in range(1, 8):
        _, mask = augment(image, (ids == region).astype(np.float32), np.random.default_rng(seed))
        np.testing.assert_array_equal(moved == region, mask)
