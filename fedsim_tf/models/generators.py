"""G_S and G_M: from the latent vector to shape parameters and to the material map."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.models.arguments import check_counts
from fedsim_tf.models.convolution3d import SlicedConv3D
from fedsim_tf.models.initializers import derive_seed, glorot, name_part, normal
from fedsim_tf.models.network import Network
from fedsim_tf.shape.parameters import LOG_SCALE_LIMIT, ROTATION_LIMIT_RAD, TRANSLATION_LIMIT_MM, WEIGHT_LIMIT

LAST_LAYER_SD = 1e-3  # initial weights of the last layers are small: training starts at the mean


class ShapeGenerator(Network):
    """G_S, a network of three dense layers from latents to the parameters of the statistical shape model.

    Each parameter is bounded to a plausible range by a hyperbolic tangent that is linear around the start, the mean
    shape in the middle of the volume.

    Args:
      n_modes: modes K of the shape model.
      latent_dim: length d of the latents.
      width: units of the two hidden layers.
      seed: what initial values are drawn from.

    Raises:
      InputError: a count below one, or a seed that is not a whole number.
    """

    def __init__(self, n_modes: int = 14, latent_dim: int = 64, *, width: int = 256, seed: int, **kwargs: Any):
        check_counts(n_modes=n_modes, latent_dim=latent_dim, width=width)
        super().__init__("shape_generator", seed=seed, **kwargs)
        self.latent_dim = latent_dim
        limits = [WEIGHT_LIMIT] * n_modes + [ROTATION_LIMIT_RAD] * 3 + [TRANSLATION_LIMIT_MM] * 3 + [LOG_SCALE_LIMIT]
        self._limits = np.array(limits, np.float32)
        self.hidden = [
            tf.keras.layers.Dense(
                width,
                "swish",
                kernel_initializer=glorot(derive_seed(self.seed, f"hidden_{level}")),
                name=f"hidden_{level}",
            )
            for level in range(2)
        ]
        start = normal(derive_seed(self.seed, "last"), sd=LAST_LAYER_SD)
        self.last = tf.keras.layers.Dense(len(limits), kernel_initializer=start, dtype="float32", name="last")

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return tau_S (B, K + 7) for latents (B, d): K weights, three rotations, three translations, a log scale."""
        for layer in self.hidden:
            z = layer(z)
        return self._limits * tf.tanh(self.last(z))


class MaterialGenerator(Network):
    """G_M, a network from latents to a cube of linear attenuation.

    Args:
      size: voxels along each edge, four times a power of two.
      latent_dim: length d of the latents.
      mu_initial_per_mm: the constant map at the start, in 1/mm.
      width: channels of the first map.
      seed: what initial values are drawn from.

    Raises:
      InputError: another size, a count below one, an attenuation that is not positive, or a seed that is not a whole
        number.
    """

    START = 4  # voxels along each edge of the first map

    def __init__(
        self,
        size: int = 16,
        latent_dim: int = 64,
        *,
        mu_initial_per_mm: float = 0.0193,
        width: int = 64,
        seed: int,
        **kwargs: Any,
    ):
        check_counts(size=size, latent_dim=latent_dim, width=width)
        doublings = _count_doublings(self.START, size)
        if not (np.isfinite(mu_initial_per_mm) and mu_initial_per_mm > 0):
            raise InputError("mu_initial_per_mm", found=mu_initial_per_mm, expected="a positive attenuation in 1/mm")
        super().__init__("material_generator", seed=seed, **kwargs)
        self.latent_dim, self._width, self._mu_initial = latent_dim, width, mu_initial_per_mm
        start = glorot(derive_seed(self.seed, "first"))
        self.first = tf.keras.layers.Dense(self.START**3 * width, "swish", kernel_initializer=start, name="first")
        self.convolutions = [
            SlicedConv3D(max(8, width // 2**level), activation="swish", **name_part(self.seed, f"convolution_{level}"))
            for level in range(1, doublings + 1)
        ]
        self.upsample = tf.keras.layers.UpSampling3D(name="upsample")
        last = name_part(self.seed, "last")
        self.last = SlicedConv3D(1, kernel_initializer=normal(last["seed"], sd=LAST_LAYER_SD), dtype="float32", **last)

    def call(self, z: tf.Tensor) -> tf.Tensor:
        """Return tau_M (B, size, size, size) for latents (B, d): attenuation in 1/mm, never negative."""
        return self._grow(self.first(z))

    def continue_from(self, outputs: tf.Tensor) -> tf.Tensor:
        """Return tau_M for the outputs (B, units) of the first layer before its activation.

        The bound at zero passes every gradient here, so that gradients are linear in what they come from.
        """
        return self._grow(tf.nn.swish(outputs), bound=_pass_gradients)

    def _grow(self, features: tf.Tensor, bound: Callable[[tf.Tensor], tf.Tensor] | None = None) -> tf.Tensor:
        maps = tf.reshape(features, (-1, self.START, self.START, self.START, self._width))
        for convolution in self.convolutions:
            maps = convolution(self.upsample(maps))
        # An output of zero is the initial material.
        return self._mu_initial * (bound or project_nonnegative)(1.0 + self.last(maps)[..., 0])


def _count_doublings(start: int, size: int) -> int:
    """Return how often `start` has to be doubled to become `size`."""
    multiple, rest = divmod(size, start)
    if rest or multiple < 1 or multiple & (multiple - 1):
        raise InputError("size", found=size, expected=f"{start} times a power of two, such as 16 or 32")
    return multiple.bit_length() - 1


@tf.custom_gradient
def project_nonnegative(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return max(x, 0), with a gradient for projected descent: it passes where a step along it leads back.

    Most of a CT is air, which lies at the bound. A step too long towards it would leave a rectifier or softplus without
    a gradient to come back with. As in `lower_bound` of TensorFlow Compression (Balle et al., ICLR 2017), a gradient
    that would lead further below zero is dropped, and one that leads up is passed as it is.
    """

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.where((x >= 0.0) | (upstream < 0.0), upstream, 0.0)

    return tf.nn.relu(x), gradient


@tf.custom_gradient
def _pass_gradients(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """Return max(x, 0) with the gradient of x."""
    return tf.nn.relu(x), lambda upstream: upstream
