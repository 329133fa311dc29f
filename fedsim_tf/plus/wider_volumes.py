"""The synthetic volumes of Ours-Plus, as the arm and its generator draw them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.plus.wider_shapes import WiderShapes, find_deformation, warp_image
from fedsim_tf.resize import resize_volume
from fedsim_tf.synthesis import GenerativeModel, Render, SyntheticVolume
from fedsim_tf.training.randomness import step_rng


def volume_renderer(model: GenerativeModel, enhancer: VolumeEnhancer) -> Render:
    """Return a function that makes a CT, in [-1, 1], of a coarse CT and a label, all slices at once.

    Args:
      model: says the size, and how labels are given to the network.
      enhancer: the network.

    Returns:
      A function as `synthesis.slice_renderer` returns it.
    """
    traced = tf.function(
        lambda coarse, label: enhancer(make_semantics(model, coarse, model.encode_label(label)))[0], autograph=False
    )
    return lambda coarse, label: np.clip(traced(tf.constant(coarse[None]), tf.constant(label[None])).numpy(), -1.0, 1.0)


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
      render: makes CTs of coarse CTs and labels.
      shapes: changes the hearts; coarse CTs are deformed accordingly.
      distribution: of latents.
      count: how many.
      seed: what latents and changes are drawn from; a volume is the same whatever the count.
    """
    for number, z in enumerate(distribution.sample(count, seed=seed)):
        tau = model.shape_generator(z[None])[0].numpy()
        noise = draw_change_noise(len(tau), seed=seed, number=number)
        yield synthesize_deformed(model, render, z, tau=shapes.change(tau, noise))


def draw_change_noise(length: int, *, seed: int, number: int) -> np.ndarray:
    """Return the standard normal noise (length,) behind the change of a sample's heart, given the sample's number."""
    return step_rng(seed, "plus/wider shapes", number).standard_normal(length)


def synthesize_deformed(model: GenerativeModel, render: Render, z: np.ndarray, *, tau: np.ndarray) -> SyntheticVolume:
    """Return the labelled volume of a latent with another heart than the latent's own.

    The coarse CT is deformed as the latent's own heart has to be to become the other one, so that label and coarse CT
    show the same heart.

    Args:
      model: shape and material networks, with their physics.
      render: makes CTs of coarse CTs and labels.
      z: the latent (d,).
      tau: shape parameters (K + 7,) of the heart that is shown, float32.
    """
    deformation = find_deformation(model.decoder, model.shape_generator(z[None])[0].numpy(), tau)
    coarse = warp_image(model.coarse_ct(z[None])[0].numpy(), deformation)
    label = model.hard_label(model.decoder(tau[None]))[0].numpy()
    return SyntheticVolume(render(coarse, label), label, coarse, z)


def make_semantics(model: GenerativeModel, coarse: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Return what a network for whole volumes sees: upsampled coarse CT and label.

    Args:
      model: says the size.
      coarse: coarse CTs (B, c, c, c).
      label: masks or occupancies (B, z, y, x), or by region (B, z, y, x, 7).

    Returns:
      (B, z, y, x, 2), or by region (B, z, y, x, 8).
    """
    label = label if len(label.shape) == 5 else label[..., None]
    return tf.concat([resize_volume(coarse, model.size)[..., None], label], axis=-1)
