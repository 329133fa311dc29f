"""Volumes whose tissues have random CT values, made of label maps alone: what one would do without an image model.

In the manner of SynthSeg (Billot et al., Medical Image Analysis 86, 2023): a network that has seen hearts in all kinds
of contrast cannot rely on any of them. Hearts come from the shape model. What lies around is an annotated patient's,
told apart into tissues by CT value, as SynthSeg does where nothing but the organ is labelled.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import ndimage
from sklearn.cluster import KMeans

from fedsim_tf.baselines.fixed_material import remove_heart
from fedsim_tf.baselines.random_hearts import draw_placed_hearts
from fedsim_tf.shape.grid import Grid
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.augmentation import similarity_about_centre
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.randomness import step_rng

TISSUES = 6  # around the heart
ROTATION_RAD, SCALE, SHIFT = 0.35, 0.2, 0.05  # the largest; relative to size and edge
SPREAD = 0.25  # largest standard deviation within a tissue, on the scale -1 to 1
BLUR_VOXELS = 1.0
GAMMA = 0.3  # standard deviation of the logarithm of the exponent
BIAS, BIAS_POINTS = 0.3, 4  # standard deviation of a smooth factor's logarithm at so many points along an edge
_FITTED = 50_000  # voxels that tissues are told apart by


class RandomContrastSite:
    """The annotated bodies of a site, into which hearts are put.

    Args:
      learner: gives the data, the shape model and the grid; nothing of it learns.
    """

    def __init__(self, learner: SiteLearner):
        self._learner, labelled = learner, learner.data.labelled
        spacing = Grid.centred((learner.model.size,) * 3, learner.data.field_of_view_mm).spacing_mm[::-1]
        pairs = zip(labelled.images, labelled.labels, strict=True)
        bodies = np.stack([remove_heart(image, label, spacing) for image, label in pairs])
        self._bodies = tell_tissues_apart(bodies, rng=learner.rng("random contrast/tissues"))

    def volumes(self, count: int) -> Iterator[SyntheticVolume]:
        """Yield volumes of random hearts in random annotated bodies; a volume is the same whatever the count."""
        learner, config = self._learner, self._learner.config
        decoder, labels = learner.model.decoder, learner.data.labelled.labels
        for number, tau in enumerate(draw_placed_hearts(decoder, labels, count=count, seed=config.seed)):
            rng = step_rng(config.seed, "random contrast", number)
            heart = decoder.label_map(tau)[0].numpy()
            body = self._bodies[rng.integers(len(self._bodies))]
            tissues = move_at_random(np.where(heart > 0, heart + TISSUES - 1, body), rng)
            contrast, image = paint_tissues(tissues, rng)
            regions = np.where(tissues >= TISSUES, tissues - TISSUES + 1, 0).astype(np.uint8)
            label = regions if config.model.by_region else (regions > 0).astype(np.uint8)
            yield SyntheticVolume(image, label, contrast, np.zeros(0, np.float32))


def tell_tissues_apart(images: np.ndarray, *, rng: np.random.Generator, tissues: int = TISSUES) -> np.ndarray:
    """Return which of some tissues (n, z, y, x) each voxel is of, from 0 in the order of their CT values.

    Args:
      images: (n, z, y, x), on any scale.
      rng: chooses the voxels that k-means looks at.
      tissues: how many.
    """
    values = images.reshape(-1)
    seen = rng.choice(values, size=min(_FITTED, values.size), replace=False)
    means = KMeans(min(tissues, len(np.unique(seen))), n_init=1, random_state=0).fit(seen[:, None]).cluster_centers_
    ordered = np.sort(means[:, 0])
    return np.digitize(images, (ordered[1:] + ordered[:-1]) / 2.0)


def move_at_random(tissues: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a label map (z, y, x) after a random similarity transform; at the border the last voxel is repeated."""
    rotation, scale = rng.uniform(-ROTATION_RAD, ROTATION_RAD, 3), np.exp(rng.uniform(-SCALE, SCALE))
    shift = rng.uniform(-SHIFT, SHIFT, 3) * tissues.shape
    matrix, offset = similarity_about_centre(tissues.shape, rotation=rotation, scale=scale, shift=shift)
    return ndimage.affine_transform(tissues, matrix, offset, order=0, mode="nearest")


def paint_tissues(tissues: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Give each tissue a random mean and spread, then blur, shade and bend the CT values at random.

    Args:
      tissues: label map (z, y, x) of whole numbers from 0.
      rng: draws everything.

    Returns:
      The tissues' means and the image, both (z, y, x) float32 in [-1, 1].
    """
    count = int(tissues.max()) + 1
    means, spreads = rng.uniform(-1.0, 1.0, count), rng.uniform(0.0, SPREAD, count)
    contrast = means[tissues].astype(np.float32)
    image = contrast + spreads[tissues] * rng.standard_normal(tissues.shape)
    image = ndimage.gaussian_filter(image, rng.uniform(0.0, BLUR_VOXELS))
    points = rng.standard_normal((BIAS_POINTS,) * 3)
    shade = ndimage.zoom(points, np.array(tissues.shape) / BIAS_POINTS, order=1)
    bent = np.clip((image + 1.0) / 2.0, 0.0, 1.0) ** np.exp(GAMMA * rng.standard_normal()) * np.exp(BIAS * shade)
    return contrast, np.clip(2.0 * bent - 1.0, -1.0, 1.0).astype(np.float32)
