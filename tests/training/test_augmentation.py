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
