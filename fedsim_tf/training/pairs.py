"""Random changes of pairs of semantics and real slices, for the GAN alone.

No patient has a mirrored heart, but the enhancement network has to render any outline that it is given. The shape and
material networks, which have to know hearts, never see these pairs.
"""

from __future__ import annotations

import tensorflow as tf


def augment_pairs(
    semantics: tf.Tensor, real: tf.Tensor, seed: tf.Tensor, *, flip: bool, intensity: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the pairs with half of them mirrored left to right and the contrast of each changed.

    Args:
      semantics: (B, y, x, S), the coarse CT in the first channel; real: slices (B, y, x) in [-1, 1].
      seed: (2,) int32; the same seed gives the same changes.
      flip: whether to mirror.
      intensity: largest change of gain and of offset, the same for the coarse CT and the real slice.

    Returns:
      Semantics and real slices; the latter are clipped to [-1, 1], where the enhancement network's range ends.
    """
    flip_seed, gain_seed, offset_seed = tf.unstack(tf.random.split(seed, 3))
    if flip:
        mirrored = tf.random.stateless_uniform((tf.shape(real)[0],), flip_seed) < 0.5
        semantics = tf.where(mirrored[:, None, None, None], tf.reverse(semantics, axis=[2]), semantics)
        real = tf.where(mirrored[:, None, None], tf.reverse(real, axis=[2]), real)
    if intensity:
        each = (tf.shape(real)[0], 1, 1)
        gain = 1.0 + tf.random.stateless_uniform(each, gain_seed, -intensity, intensity)
        offset = tf.random.stateless_uniform(each, offset_seed, -intensity, intensity)
        coarse = semantics[..., 0] * gain + offset
        semantics = tf.concat([coarse[..., None], semantics[..., 1:]], axis=-1)
        real = tf.clip_by_value(real * gain + offset, -1.0, 1.0)
    return semantics, real
