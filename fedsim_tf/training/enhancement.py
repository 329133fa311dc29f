"""Stage 2, GAN pre-training: the enhancement network and its discriminator on annotated slices.

The inputs are ground-truth label slices and generated material, the targets are the real CT slices, so that the network
learns to respect the label's outline (section 2.2). Losses and two-rate Adam are those of Park et al. 2019 (GauGAN).
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from fedsim_tf.config import GanConfig
from fedsim_tf.losses import (
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    perceptual_loss,
)
from fedsim_tf.models.discriminator import MultiScaleDiscriminator
from fedsim_tf.models.gaugan import GauGANGenerator
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.annotated_labels import AnnotatedLabels
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import TTUR_BETAS, adam
from fedsim_tf.training.pairs import augment_pairs
from fedsim_tf.training.pictures import draw_slices, middle_slices
from fedsim_tf.training.pretraining import simulate_fitted
from fedsim_tf.training.protocols import TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.watch import Look, norms, rates, spectral_norms

FeatureMaps = list[list[tf.Tensor]]  # scale, then level; the last level holds the logits


class EnhancementTrainer:
    """The training step of the enhancement network and its discriminator on pairs of semantics and real slices.

    Args:
      enhancer, discriminator: the networks that it moves.
      vgg: fixed features.
      settings: rates and weights; the schedule's length is `settings.steps`.
    """

    def __init__(
        self,
        enhancer: GauGANGenerator,
        discriminator: MultiScaleDiscriminator,
        vgg: VGG19Features,
        settings: GanConfig,
    ):
        self._enhancer, self._discriminator, self._vgg, self._settings = enhancer, discriminator, vgg, settings
        steps, variables = settings.steps, enhancer.trainable_variables
        self._generator_optimizer = adam(settings.generator_rate, variables, steps=steps, betas=TTUR_BETAS)
        variables = discriminator.trainable_variables
        self._discriminator_optimizer = adam(settings.discriminator_rate, variables, steps=steps, betas=TTUR_BETAS)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """The optimizers, by the names that checkpoints have for them."""
        # "critic" is the discriminator; under another name the checkpoints of earlier runs would not fit.
        return {"generator_optimizer": self._generator_optimizer, "critic_optimizer": self._discriminator_optimizer}

    def scalars(self) -> dict[str, float]:
        """Return learning rates and spectral norms, for TensorBoard."""
        return {
            **rates(enhancer=self._generator_optimizer, discriminator=self._discriminator_optimizer),
            **spectral_norms(enhancer=self._enhancer, discriminator=self._discriminator),
        }

    def update(self, semantics: tf.Tensor, real: tf.Tensor, seed: tf.Tensor) -> tuple[TensorLosses, TensorLosses]:
        """Take one step of each network.

        Args:
          semantics: (B, y, x, S); real: slices (B, y, x).
          seed: (2,) int32, for the augmentation of the pairs.

        Returns:
          Losses, and the gradients' norms by network.
        """
        settings = self._settings
        semantics, real = augment_pairs(semantics, real, seed, flip=settings.flip, intensity=settings.intensity)
        with tf.GradientTape() as tape:
            fake = self._enhancer(semantics, training=True)[..., 0]
            discriminator_loss, discriminator_norms = self._update_discriminator(semantics, real, fake)
            losses = generator_losses(
                self._discriminator, self._vgg, settings, semantics, real, fake, condition_is_learnt=False
            )
            total = tf.add_n(list(losses.values()))
        variables = self._enhancer.trainable_variables
        gradients = tape.gradient(total, variables)
        self._generator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return {"discriminator": discriminator_loss, **losses}, {**norms(enhancer=gradients), **discriminator_norms}

    def _update_discriminator(
        self, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor
    ) -> tuple[tf.Tensor, TensorLosses]:
        with tf.GradientTape() as tape:
            maps = discriminate(self._discriminator, semantics, real, tf.stop_gradient(fake), training=True)
            loss = hinge_discriminator_loss(*maps)
        variables = self._discriminator.trainable_variables
        gradients = tape.gradient(loss, variables)
        self._discriminator_optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, norms(discriminator=gradients)


class EnhancementPretraining:
    """Stage 2 at one site, which shares nothing with other sites.

    Args:
      learner: the site's state.
      simulated: simulated CTs of the annotated volumes (n, c, c, c), at any resolution; None: those of the fitted
        latents.
      name: the stage's name.
      augmented: whether slices are changed at random, as configured.
    """

    def __init__(
        self,
        learner: SiteLearner,
        *,
        simulated: tf.Tensor | None = None,
        name: str = "gan",
        augmented: bool = True,
    ):
        settings = learner.config.gan
        if not augmented:
            settings = dataclasses.replace(settings, flip=False, intensity=0.0)
        self._learner, self.name = learner, name
        self._images = tf.constant(learner.data.labelled.images)
        self._labels = AnnotatedLabels(learner.data.labelled, by_region=learner.config.model.by_region)
        self._labels.divide_whole_hearts(learner)
        self._coarse = tf.constant(simulate_fitted(learner)) if simulated is None else simulated
        self._trainer = EnhancementTrainer(learner.model.enhancer, learner.discriminator, learner.vgg, settings)
        self._traced = tf.function(self._update, autograph=False)
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """Return what a checkpoint holds of this stage, by name."""
        return {**self._learner.objects, **self._trainer.objects}

    @property
    def seeds(self) -> StepSeeds:
        """Return what the generators of its steps are made from."""
        return self._learner.seeds(self.name)

    def look(self) -> Look:
        """Return rates, spectral norms and some annotated slices."""
        middle = middle_slices(self._learner, self._images)
        labels = self._labels.slices(tf.range(len(middle)), middle)
        shown = draw_slices(self._learner, self._images, labels, self._coarse)
        return Look(self._trainer.scalars(), {"annotated": shown})

    def step(self, _index: int, rng: np.random.Generator) -> TensorLosses:
        """Move the discriminator, then the enhancement network, by random slices of random volumes."""
        config = self._learner.config
        volumes = rng.integers(len(self._learner.data.labelled), size=config.gan.batch)
        slices = rng.integers(config.model.size, size=config.gan.batch)
        seed = tf.constant(rng.integers(1 << 31, size=2), tf.int32)
        losses, self.gradient_norms = self._traced(tf.constant(volumes, tf.int32), tf.constant(slices, tf.int32), seed)
        return losses

    def _update(self, volumes: tf.Tensor, slices: tf.Tensor, seed: tf.Tensor) -> tuple[TensorLosses, TensorLosses]:
        real = take_slices(tf.gather(self._images, volumes), slices)
        labels = self._labels.slices(volumes, slices)
        semantics = self._learner.model.semantics(tf.gather(self._coarse, volumes), labels, slices)
        return self._trainer.update(semantics, real, seed)


def discriminate(
    discriminator: MultiScaleDiscriminator, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, *, training: bool
) -> tuple[FeatureMaps, FeatureMaps]:
    """Return the discriminator's feature maps of real and of fake slices (B, y, x), seen in one batch."""
    pairs = [tf.concat([semantics, slices[..., None]], axis=-1) for slices in (real, fake)]
    maps = discriminator(tf.concat(pairs, axis=0), training=training)
    halves = [[tf.split(level, 2) for level in scale] for scale in maps]
    return [[half[0] for half in scale] for scale in halves], [[half[1] for half in scale] for scale in halves]


def generator_losses(
    discriminator: MultiScaleDiscriminator,
    vgg: VGG19Features,
    settings: GanConfig,
    semantics: tf.Tensor,
    real: tf.Tensor,
    fake: tf.Tensor,
    *,
    condition_is_learnt: bool,
) -> TensorLosses:
    """Return adversarial, feature matching and VGG losses of fake slices (B, y, x); the discriminator stays as it is.

    Args:
      discriminator, vgg: the networks that the losses are measured with.
      settings: their weights.
      semantics: (B, y, x, S), what the fake slices were made from.
      real, fake: slices (B, y, x).
      condition_is_learnt: whether gradients of the losses go on to what the semantics were made from. See
        `feature_matching_loss`.
    """
    real_maps, fake_maps = discriminate(discriminator, semantics, real, fake, training=False)
    perceptual = perceptual_loss(vgg(fake[..., None]), vgg(real[..., None]))
    return {
        "adversarial": hinge_generator_loss(fake_maps),
        "feature_matching": feature_matching_loss(
            real_maps, fake_maps, condition_is_learnt=condition_is_learnt, weight=settings.feature_weight
        ),
        "vgg": settings.vgg_weight * perceptual,
    }
