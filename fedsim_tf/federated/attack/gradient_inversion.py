"""Find the image and the label whose gradient of a U-Net is the one that a site has sent.

This is gradient inversion (Geiping et al., NeurIPS 2020; of medical images Hatamizadeh et al., IEEE TMI 2023): descent
on the cosine distance of the gradients, which clipping does not change, and total variation. What can be solved is
solved before: `bottleneck` reads the maps of the second-deepest level, `layer_inversion` what goes into them,
`linear_guess` makes an image of these, and descent on the distance of the maps makes it better. Descent on gradients
then finds the label. Where the gradients do not tell the maps, as with noise or where the deepest level has more voxels
than filters, it begins at noise and finds both.

The network normalises its maps, so that an image's gradients hardly tell its mean and contrast. Of those the attack
keeps what it began with. It takes labels for heart or not, and the volume for the patient's own: of a site that is
taught by region, or augments its volumes, it finds less than a server could.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.federated.attack.bottleneck import GradientOf, index_gradients, read_bottleneck
from fedsim_tf.federated.attack.layer_inversion import cosine_distance, invert_level
from fedsim_tf.federated.attack.linear_guess import USUAL_DEVIATION, USUAL_MEAN, guess_image
from fedsim_tf.federated.attack.reconstruction import assign_weights
from fedsim_tf.federated.update import Arrays
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.models.convolution3d import halve3d
from fedsim_tf.models.interpolated_convolution import double_trilinearly
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.training.learner import named_variables

# The fixed budget: steps of Adam on known maps alone, then on gradients, from each start.
MAP_STEPS, GRADIENT_STEPS, RATE = 200, 80, 0.01
_BLIND_RATE = 0.03  # of images where descent begins at noise
_LABEL_RATE = 0.1
_GRADIENT_WEIGHT, _VARIATION_WEIGHT, _LABEL_VARIATION_WEIGHT = 10.0, 0.02, 0.005
_SCALES = 4  # of the pyramid that images are descended in: rough structures move first

Measure = Callable[[], tuple[tf.Tensor, list[tf.Tensor]]]  # the distance, and the slope of the whole loss


class InvertedVolume(NamedTuple):
    """What the attack makes of one answer.

    Attributes:
      image: (z, y, x), in [-1, 1].
      label: (z, y, x), occupancy in [0, 1].
      distance: the cosine distance of its gradient from the one that was sent, 0 to 2.
      is_solved: whether linear algebra has found maps of the network, and not descent alone.
    """

    image: np.ndarray
    label: np.ndarray
    distance: float
    is_solved: bool


class GradientInversion:
    """The attack on answers of one U-Net, whose functions are traced once.

    Args:
      network: a U-Net of the run's sizes, in float32; its weights become those of each round.
      edge: voxels along each edge of volumes.
      heart_weight: of the loss; see `segmentation_loss`.
      mean_heart: the shape model's mean (z, y, x), heart or not, one of the two labels that descent begins at. The
        other one is blank.
    """

    def __init__(self, network: UNet3D, *, edge: int, heart_weight: float, mean_heart: np.ndarray):
        self._network, self._edge, self._heart_weight = network, edge, heart_weight
        self._label_starts = [np.full((edge,) * 3, -1.0), 2.0 * mean_heart - 1.0]
        self._variables = named_variables(unet=network)
        self._image, self._label = _Pyramid(edge), _Pyramid(edge)
        self._sent = [tf.Variable(tf.zeros_like(one)) for one in self._variables.values()]
        self._maps: list[tf.Variable] = []
        self._by_maps = tf.function(self._slope_by_maps, autograph=False)
        self._by_gradients = tf.function(self._slope_by_gradients, autograph=False)

    def invert(self, weights: Arrays, gradients: Arrays, *, seed: int = 0) -> InvertedVolume:
        """Return the volume whose gradients come nearest, of descents from the two labels.

        Args:
          weights: the shared weights that the server has sent for the round, by name.
          gradients: the gradients of one volume that came back, by name, clipped and noisy where they were.
          seed: of all random starts.

        Raises:
          InputError: the weights are not those of this network.
        """
        assign_weights(self._variables, weights)
        gradients = _scale_to_one(gradients)
        for kept, name in zip(self._sent, self._variables, strict=True):
            kept.assign(gradients[name])
        rng = np.random.default_rng(seed)
        start = self._solve(index_gradients(self._variables, gradients), rng)
        found = [self._descend(start, label, rng) for label in self._label_starts]
        return min(found, key=lambda one: one.distance)

    def _solve(self, gradient_of: GradientOf, rng: np.random.Generator) -> np.ndarray | None:
        """Set the maps that are known, and return the image (z, y, x) that they lead to; None where none are known."""
        network = self._network
        known = read_bottleneck(network, gradient_of, edge=self._edge) if len(network.down) > 2 else None
        if known is None:
            return None
        maps = [invert_level(network, known, gradient_of), known.skipped]
        self._keep_maps(maps)
        encode = tf.function(self._encode, autograph=False)
        self._image.assign(guess_image(encode, maps, edge=self._edge, rng=rng))
        self._adam({RATE: self._image.levels}, self._by_maps, steps=MAP_STEPS)
        return self._image.read()

    def _keep_maps(self, maps: Sequence[tf.Tensor]) -> None:
        if not self._maps:  # their shapes are known now
            self._maps = [tf.Variable(one) for one in maps]
        for kept, one in zip(self._maps, maps, strict=True):
            kept.assign(one)

    def _descend(self, start: np.ndarray | None, label: np.ndarray, rng: np.random.Generator) -> InvertedVolume:
        self._image.assign(start if start is not None else np.full((self._edge,) * 3, USUAL_MEAN))
        self._label.assign(label)
        if start is None:
            self._image.add_noise(rng, deviation=0.1 * USUAL_DEVIATION)
        # Gradients would lead an image that maps have led to away from it again.
        rates = {_BLIND_RATE if start is None else 0.0: self._image.levels, _LABEL_RATE: self._label.levels}
        self._adam(rates, self._by_gradients, steps=GRADIENT_STEPS)
        occupancy = tf.sigmoid(2.0 * self._label.read()).numpy()
        image = np.clip(self._image.read(), -1.0, 1.0)
        return InvertedVolume(image, occupancy, float(self._by_gradients()[0]), start is not None)

    def _adam(self, volumes: Mapping[float, Sequence[tf.Variable]], measure: Measure, *, steps: int) -> None:
        """Move volumes, by their rates, down the slopes that `measure` gives of all their variables."""
        decays = [tf.keras.optimizers.schedules.CosineDecay(rate, steps) for rate in volumes]
        optimizers = [tf.keras.optimizers.legacy.Adam(decay) for decay in decays]
        for _ in range(steps):
            slopes = iter(measure()[1])
            for optimizer, variables in zip(optimizers, volumes.values(), strict=True):
                optimizer.apply_gradients([(next(slopes), variable) for variable in variables])

    def _slope_by_maps(self) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            image = self._image.make()
            distance = self._distance_of_maps(image)
            loss = distance + _VARIATION_WEIGHT * _variation(image)
        return distance, tape.gradient(loss, self._image.levels)

    def _slope_by_gradients(self) -> tuple[tf.Tensor, list[tf.Tensor]]:
        levels = [*self._image.levels, *self._label.levels]
        with tf.GradientTape() as outer:
            image, occupancy = self._image.make(), tf.sigmoid(2.0 * self._label.make())
            with tf.GradientTape() as inner:
                loss = segmentation_loss(self._network(image), occupancy, heart_weight=self._heart_weight)
            gradients = inner.gradient(loss, list(self._variables.values()))
            distance = cosine_distance(gradients, self._sent)
            loss = _GRADIENT_WEIGHT * distance + _VARIATION_WEIGHT * _variation(image)
            loss += _LABEL_VARIATION_WEIGHT * _absolute_differences(occupancy)
        return distance, outer.gradient(loss, levels)

    def _encode(self, image: tf.Tensor) -> list[tf.Tensor]:
        """Return what goes into the second-deepest level, and what comes out, for images (1, z, y, x, 1)."""
        maps = self._network.down[0](image)
        for level in self._network.down[1:-2]:
            maps = level(halve3d(maps))
        pooled = halve3d(maps)
        return [pooled, self._network.down[-2](pooled)]

    def _distance_of_maps(self, image: tf.Tensor) -> tf.Tensor:
        return tf.add_n([cosine_distance([a], [b]) for a, b in zip(self._encode(image), self._maps, strict=True)])


def _scale_to_one(gradients: Arrays) -> Arrays:
    """Return gradients of the norm 1, as nothing but their direction is looked at; zeros stay zeros."""
    norm = float(np.sqrt(sum(np.sum(np.square(one, dtype=np.float64)) for one in gradients.values())))
    return {name: (one / norm).astype(np.float32) for name, one in gradients.items()} if norm else gradients


class _Pyramid:
    """A volume as the sum of interpolated coarser ones."""

    def __init__(self, edge: int):
        edges = [edge // 2**scale for scale in reversed(range(_SCALES))]
        self.levels = [tf.Variable(tf.zeros((1, one, one, one, 1))) for one in edges]

    def make(self) -> tf.Tensor:
        """Return the volume (1, z, y, x, 1)."""
        volume = tf.convert_to_tensor(self.levels[0])
        for level in self.levels[1:]:
            volume = double_trilinearly(volume) + level
        return volume

    def read(self) -> np.ndarray:
        """Return the volume (z, y, x)."""
        return self.make().numpy()[0, ..., 0]

    def assign(self, volume: np.ndarray) -> None:
        """Become a volume (z, y, x)."""
        for level in self.levels[:-1]:
            level.assign(tf.zeros_like(level))
        self.levels[-1].assign(volume[None, ..., None].astype(np.float32))

    def add_noise(self, rng: np.random.Generator, *, deviation: float) -> None:
        """Add normal noise to each scale."""
        for level in self.levels:
            level.assign_add(rng.normal(0.0, deviation, level.shape).astype(np.float32))


def _variation(image: tf.Tensor) -> tf.Tensor:
    """Return the total variation in units of the image's deviation, which the gradients do not tell."""
    return _absolute_differences(image) / (tf.math.reduce_std(image) + 1e-3)


def _absolute_differences(volume: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute difference of neighbours, summed over the three axes, of a volume (1, z, y, x, 1)."""
    v = volume
    steps = (v[:, 1:] - v[:, :-1], v[:, :, 1:] - v[:, :, :-1], v[:, :, :, 1:] - v[:, :, :, :-1])
    return tf.add_n([tf.reduce_mean(tf.abs(step)) for step in steps])
