"""Fitting a shape model to a mask, through the decoder's gradient and the overlap alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.losses import iou_loss
from fedsim_tf.shape.decoder import ShapeDecoder

_BETAS = (0.9, 0.99)


class Fit(NamedTuple):
    """Shape parameters that were found, and the course of L_IoU.

    With partial volumes L_IoU does not fall to zero: voxels on the border overlap with themselves by their squares.
    """

    tau: np.ndarray  # (K + 7,)
    losses: np.ndarray  # (steps + 1,), before each step and after the last


def fit_shape(decoder: ShapeDecoder, mask: np.ndarray, *, steps: int = 150, first_voxels: float = 1.0) -> Fit:
    """Gradient descent (Adam) on the shape parameters from the mean shape, minimising L_IoU.

    Parameters are counted in steps that move the surface equally far, so that millimetres, radians and standard
    deviations go together. Steps shrink to zero along a cosine.

    Args:
      decoder: of the model and the mask's grid.
      mask: (z, y, x), 0 or 1, or partial volumes; the heart near the grid's centre.
      steps: of the descent.
      first_voxels: how far the first step of one parameter moves the surface, in voxels (root mean square).

    Raises:
      InputError: another shape than the grid's, or an empty mask.
    """
    if mask.shape != tuple(decoder.grid.shape):
        raise InputError("mask", found=f"shape {mask.shape}", expected=f"shape {decoder.grid.shape}, as the grid")
    if not np.any(mask > 0):
        raise InputError("mask", found="nothing inside", expected="a heart")
    target = tf.constant(mask[None], tf.float32)
    unit = tf.constant(decoder.steps / decoder.step_voxels, tf.float32)[None]  # moves the surface by a voxel
    scaled = tf.Variable(tf.zeros((1, decoder.n_parameters)))
    rate = tf.keras.optimizers.schedules.CosineDecay(first_voxels, steps)
    optimizer = tf.keras.optimizers.Adam(rate, beta_1=_BETAS[0], beta_2=_BETAS[1])
    optimizer.build([scaled])

    @tf.function(autograph=False)
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = iou_loss(decoder(scaled * unit), target)
        optimizer.apply_gradients([(tape.gradient(loss, scaled), scaled)])
        return loss

    losses = [float(step()) for _ in range(steps)]
    losses.append(float(iou_loss(decoder(scaled * unit), target)))
    return Fit((scaled * unit)[0].numpy(), np.array(losses))
