"""Stage 1, generator pre-training: shape and material networks with the latents of the annotated volumes.

This is generative latent optimization (Bojanowski et al. 2018) of L_IoU + L_M, section 2.2 of the paper.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.losses import material_losses, slice_features
from fedsim_tf.synthesis import downsample
from fedsim_tf.training.annotated_labels import AnnotatedLabels
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pictures import draw_generated_slices
from fedsim_tf.training.protocols import SharedGradients, TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Look, norms, rates


class GeneratorPretraining:
    """One site's side of stage 1: moves the site's latents and hands out the gradients of the shared networks."""

    name = "pretraining"

    def __init__(self, learner: SiteLearner):
        data, config = learner.data, learner.config
        self.learner = learner
        self.images = tf.constant(data.labelled.images)
        self.labels = AnnotatedLabels(data.labelled, by_region=config.model.by_region)
        self._coarse = tf.constant(downsample(data.labelled.images, config.model.coarse_size))
        self._coarse_features = slice_features(learner.vgg, self._coarse)
        self.optimizer = adam(config.pretraining.latent_rate, learner.labelled_latents.trainable_variables)
        self._traced = tf.function(self._gradients, autograph=False)
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """Return what a checkpoint holds of this stage at this site, by name."""
        return {**self.learner.objects, "latent_optimizer": self.optimizer}

    @property
    def seeds(self) -> StepSeeds:
        """Return what the generators of its steps are made from."""
        return self.learner.seeds(self.name)

    def look(self) -> Look:
        """Return latents, their rate, and some annotated slices as the networks generate them."""
        z = self.learner.labelled_latents.table
        shown = draw_generated_slices(self.learner, self.images, z)
        return Look(rates(latents=self.optimizer), {"annotated": shown}, {"z": z})

    def shared_gradients(self, _index: int, rng: np.random.Generator) -> tuple[TensorLosses, SharedGradients]:
        """Move the latents of a random batch; return losses and the gradients of `learner.shared_variables`."""
        losses, self.gradient_norms, gradients = self._traced(tf.constant(self._choose_batch(rng), tf.int32))
        return losses, gradients

    def list_batch(self, index: int) -> tuple[str, ...]:
        """Return the identities of the volumes that the step of this number learns from."""
        identities = self.learner.data.labelled.identities
        return tuple(identities[number] for number in self._choose_batch(self.seeds.rng(index)))

    def _choose_batch(self, rng: np.random.Generator) -> np.ndarray:
        count = len(self.learner.data.labelled)
        return rng.choice(count, size=min(self.learner.config.pretraining.batch, count), replace=False)

    def _gradients(self, batch: tf.Tensor) -> tuple[TensorLosses, TensorLosses, SharedGradients]:
        learner = self.learner
        latents = learner.labelled_latents.trainable_variables
        with tf.GradientTape() as tape:
            losses = self.losses(batch)
            total = tf.add_n(list(losses.values()))
        zero = tf.UnconnectedGradients.ZERO  # a variant of this stage may leave a network out
        shared, own = tape.gradient(total, [learner.shared_variables, latents], unconnected_gradients=zero)
        self.optimizer.apply_gradients(zip(own, latents, strict=True))
        learner.labelled_latents.project(learner.config.pretraining.latent_ball)
        return losses, {**learner.shared_norms(shared), **norms(latents=own)}, shared

    def losses(self, batch: tf.Tensor) -> TensorLosses:
        """Return L_IoU and the two parts of L_M for the annotated volumes `batch` (B,)."""
        z = self.learner.labelled_latents.lookup(batch)
        return self.compare(batch, z, self.learner.model.coarse_ct(z))

    def compare(self, batch: tf.Tensor, z: tf.Tensor, coarse: tf.Tensor) -> TensorLosses:
        """Return the losses of annotated volumes.

        Args:
          batch: their numbers (B,).
          z: their latents (B, d); coarse: the simulated CTs of these (B, c, c, c).
        """
        learner = self.learner
        target = tf.gather(self._coarse, batch)
        features = [tf.gather(level, batch) for level in self._coarse_features]
        squared, perceptual = material_losses(learner.vgg, coarse, target, features)
        return {
            "iou": self.labels.iou_loss(learner.model.labels(z), batch),
            "material_mse": squared,
            "material_perceptual": learner.config.pretraining.perceptual_weight * perceptual,
        }


def simulate_fitted(learner: SiteLearner) -> np.ndarray:
    """Return the simulated CT of each annotated volume's latent (n, c, c, c), an input of the enhancement network."""
    return learner.model.coarse_ct(learner.labelled_latents.table).numpy()
