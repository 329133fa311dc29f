"""The stage that trains the enhancement network of Ours-Plus on annotated volumes and their deformed copies."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.losses import perceptual_loss
from fedsim_tf.models import built
from fedsim_tf.plus.deformed import DeformedVolumes
from fedsim_tf.plus.wider_volumes import make_semantics
from fedsim_tf.resize import resize_volume
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pictures import SHOWN
from fedsim_tf.training.protocols import TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Look, montage, norms, rates

STAGE = "plus/enhancement"
PLANES = 3


class VolumeEnhancement:
    """Learns to make CTs of simulated ones and labels, whole volumes at a time.

    The loss is the mean absolute difference and, on a slice of each plane, the perceptual loss of the GAN. There is no
    discriminator: with one, a few volumes were rendered with its checks and stripes.

    Args:
      learner: the site's state, which stays as it is.
      pairs: what it learns from.

    Attributes:
      network: the enhancement network.
    """

    name = STAGE

    def __init__(self, learner: SiteLearner, pairs: DeformedVolumes):
        config = learner.config
        self._learner, self._settings, self._intensity = learner, config.plus, config.gan.intensity
        self._images = tf.constant(pairs.volumes.images)
        self._labels, self._simulated = tf.constant(pairs.semantic_labels), tf.constant(pairs.simulated)
        self.network = built.volume_enhancer(config, seed=config.seed)
        variables = self.network.trainable_variables
        self._optimizer = adam(config.plus.rate, variables, steps=config.plus.steps)
        self._traced = tf.function(self._update, autograph=False)
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """Return what a checkpoint holds of this stage, by name."""
        return {"volume_enhancer": self.network, "volume_enhancer_optimizer": self._optimizer}

    @property
    def seeds(self) -> StepSeeds:
        """Return what the generators of its steps are made from."""
        return self._learner.seeds(self.name)

    def look(self) -> Look:
        """Return the rate, and the middle slices of some volumes: real, simulated, enhanced."""
        count = min(SHOWN, len(self._images))
        enhanced = [self._enhance(number) for number in range(count)]
        middle = self._learner.model.size // 2
        simulated = resize_volume(self._simulated[:count], self._learner.model.size)
        columns = [self._images[:count, middle], simulated[:, middle], tf.stack(enhanced)[:, middle]]
        return Look(rates(volume_enhancer=self._optimizer), {"annotated": montage([np.array(one) for one in columns])})

    def step(self, _index: int, rng: np.random.Generator) -> TensorLosses:
        """Move the network by one random volume."""
        change = 1.0 + rng.uniform(-self._intensity, self._intensity), rng.uniform(-self._intensity, self._intensity)
        losses, self.gradient_norms = self._traced(
            tf.constant(rng.integers(len(self._images)), tf.int32),
            tf.constant(rng.integers(self._learner.model.size, size=PLANES), tf.int32),
            tf.constant(change, tf.float32),
        )
        return losses

    def _enhance(self, number: int) -> tf.Tensor:
        label = self._learner.model.encode_label(self._labels[number : number + 1])
        return self.network(make_semantics(self._learner.model, self._simulated[number : number + 1], label))[0]

    def _update(self, number: tf.Tensor, places: tf.Tensor, change: tf.Tensor) -> tuple[TensorLosses, TensorLosses]:
        """Take a step.

        Args:
          number: of the volume; places: (3,), the slice that is looked at in each plane.
          change: (2,), gain and offset of the CT values, simulated and real.
        """
        gain, offset = tf.unstack(change)
        model = self._learner.model
        label = model.encode_label(self._labels[number][None])
        semantics = make_semantics(model, self._simulated[number][None] * gain + offset, label)
        real = tf.clip_by_value(self._images[number] * gain + offset, -1.0, 1.0)
        with tf.GradientTape() as tape:
            enhanced = self.network(semantics)[0]
            losses = {"absolute": self._settings.absolute_weight * tf.reduce_mean(tf.abs(enhanced - real))}
            if self._settings.vgg_weight:
                slices = [take_plane_slices(volume, places) for volume in (enhanced, real)]
                features = [self._learner.vgg(cut[..., None]) for cut in slices]
                losses["vgg"] = self._settings.vgg_weight * perceptual_loss(*features)
            total = tf.add_n(list(losses.values()))
        variables = self.network.trainable_variables
        gradients = tape.gradient(total, variables)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return losses, norms(volume_enhancer=gradients)


def take_plane_slices(volume: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Return an axial, a coronal and a sagittal slice (3, n, n) of a cube (n, n, n), at places (3,)."""
    return tf.stack([tf.gather(volume, places[axis], axis=axis) for axis in range(PLANES)])
