"""The synthetic volumes of Ours-Plus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.plus.deformed import warp_image
from fedsim_tf.plus.volume_enhancement import make_semantics
from fedsim_tf.plus.wider_shapes import WiderShapes
from fedsim_tf.synthesis import GenerativeModel, SyntheticVolume, render_volume, slice_renderer
from fedsim_tf.training.randomness import step_rng

Render = Callable[[np.ndarray, np.ndarray], np.ndarray]  # coarse CT (c, c, c), label (z, y, x) to image (z, y, x)


def whole_volumes(model: GenerativeModel, enhancer: VolumeEnhancer) -> Render:
    """Return the enhancement network for volumes as a function of one coarse CT and label."""
    traced = tf.function(
        lambda coarse, label: enhancer(make_semantics(model, coarse, model.encode_label(label)))[0], autograph=False
    )
    return lambda coarse, label: traced(tf.constant(coarse[None]), tf.constant(label[None])).numpy()


def slice_by_slice(model: GenerativeModel) -> Render:
    """Return the GAN's enhancement network as a function of one coarse CT and label."""
    render = slice_renderer(model)
    return lambda coarse, label: render_volume(render, tf.constant(coarse[None]), label)


def sample_wider_volumes(
    model: GenerativeModel,
    render: Render,
    shapes: WiderShapes,
    distribution: LatentDistribution,
    *,
    count: int,
    seed: int,
) -> Iterator[SyntheticVolume]:
    """Draw latents from the fitted normal, change their hearts, and render whole volumes.

    Args:
      model: shape and material networks, with their physics.
      render: makes CTs of simulated ones and labels.
      shapes: changes the hearts; simulated CTs are deformed accordingly.
      distribution: of latents.
      count: how many.
      seed: what latents and changes are drawn from; a volume is the same whatever the count.
    """
    for number, z in enumerate(distribution.sample(count, seed=seed).astype(np.float32)):
        rng = step_rng(seed, "plus/wider shapes", number)
        tau, deformation = shapes.change(model.shape_generator(z[None])[0].numpy(), rng)
        coarse = warp_image(model.coarse_ct(z[None])[0].numpy(), deformation)
        label = model.hard_label(model.decoder(tf.constant(tau[None])))[0].numpy()
        yield SyntheticVolume(np.clip(render(coarse, label), -1.0, 1.0), label, coarse, z)
