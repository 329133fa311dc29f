"""Stage 2, GAN pre-training: the enhancement network and its discriminator on annotated slices.

Ground-truth label slices and generated material go in, the real CT slices are the target, so that the network learns
to respect the label's outline (section 2.2). Losses and two-rate Adam are those of Park et al. 2019 (GauGAN).
"""

from __future__ import annotations

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
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import TTUR_BETAS, adam
from fedsim_tf.training.pairs import augmented_pairs
from fedsim_tf.training.pictures import slices_of
from fedsim_tf.training.pretraining import TensorLosses, fitted_coarse_ct
from fedsim_tf.training.watch import Look, norms, rates, spectral_norms

FeatureMaps = list[list[tf.Tensor]]  # scale, then level; the last level holds the logits


class EnhancementTrainer:
    """One discriminator and one generator step on pairs of semantics and real slices.

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
        self._generator, self._critic = enhancer.trainable_variables, discriminator.trainable_variables
        steps = settings.steps
        self._generator_optimizer = adam(settings.generator_rate, self._generator, steps=steps, betas=TTUR_BETAS)
        self._critic_optimizer = adam(settings.discriminator_rate, self._critic, steps=steps, betas=TTUR_BETAS)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """The optimizers, for checkpoints."""
        return {"generator_optimizer": self._generator_optimizer, "critic_optimizer": self._critic_optimizer}

    def scalars(self) -> dict[str, float]:
        """Learning rates and spectral norms, for TensorBoard."""
        return {
            **rates(enhancer=self._generator_optimizer, discriminator=self._critic_optimizer),
            **spectral_norms(enhancer=self._enhancer, discriminator=self._discriminator),
        }

    def update(self, semantics: tf.Tensor, real: tf.Tensor, seed: tf.Tensor) -> tuple[TensorLosses, TensorLosses]:
        """Moves both networks.

        Args:
          semantics: (B, y, x, 3); real: slices (B, y, x).
          seed: (2,) int32, of the pairs' augmentation.

        Returns:
          Losses, and the gradients' norms by network.
        """
        settings = self._settings
        semantics, real = augmented_pairs(semantics, real, seed, flip=settings.flip, intensity=settings.intensity)
        with tf.GradientTape() as tape:
            fake = self._enhancer(semantics, training=True)[..., 0]
            critic_loss, critic_norms = self._update_critic(semantics, real, fake)
            losses = generator_losses(self._discriminator, self._vgg, self._settings, semantics, real, fake)
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, self._generator)
        self._generator_optimizer.apply_gradients(zip(gradients, self._generator, strict=True))
        return {"discriminator": critic_loss, **losses}, {**norms(enhancer=gradients), **critic_norms}

    def _update_critic(self, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, TensorLosses]:
        with tf.GradientTape() as tape:
            maps = judge(self._discriminator, semantics, real, tf.stop_gradient(fake), training=True)
            loss = hinge_discriminator_loss(*maps)
        gradients = tape.gradient(loss, self._critic)
        self._critic_optimizer.apply_gradients(zip(gradients, self._critic, strict=True))
        return loss, norms(discriminator=gradients)


class EnhancementPretraining:
    """Stage 2 at one site; nothing of it is shared."""

    def __init__(self, learner: SiteLearner, *, simulated: tf.Tensor | None = None, name: str = "gan"):
        """Of a site.

        Args:
          learner: its state.
          simulated: CTs of the annotated volumes (n, c, c, c), at any resolution; None: what the model fitted.
          name: the stage's.
        """
        self._learner, self.name = learner, name
        self._images = tf.constant(learner.data.labelled.images)
        self._labels = tf.constant(learner.data.labelled.labels)
        self._coarse = tf.constant(fitted_coarse_ct(learner)) if simulated is None else simulated
        self._trainer = EnhancementTrainer(
            learner.model.enhancer, learner.discriminator, learner.vgg, learner.config.gan
        )
        self._traced = tf.function(self._update, autograph=False)
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds of this stage."""
        return {**self._learner.objects, **self._trainer.objects}

    def look(self) -> Look:
        """Rates, spectral norms and some annotated slices."""
        shown = slices_of(self._learner, self._images, self._labels, self._coarse)
        return Look(self._trainer.scalars(), {"annotated": shown})

    def step(self, step: int) -> TensorLosses:
        """One step of the discriminator, then one of the generator, on random slices of random volumes."""
        config = self._learner.config
        rng = self._learner.rng(self.name, step)
        volumes = rng.integers(len(self._learner.data.labelled), size=config.gan.batch)
        slices = rng.integers(config.model.size, size=config.gan.batch)
        seed = tf.constant(rng.integers(1 << 31, size=2), tf.int32)
        losses, self.gradient_norms = self._traced(tf.constant(volumes, tf.int32), tf.constant(slices, tf.int32), seed)
        return losses

    def _update(self, volumes: tf.Tensor, slices: tf.Tensor, seed: tf.Tensor) -> tuple[TensorLosses, TensorLosses]:
        real = take_slices(tf.gather(self._images, volumes), slices)
        labels = take_slices(tf.gather(self._labels, volumes), slices)
        semantics = self._learner.model.semantics(tf.gather(self._coarse, volumes), labels, slices)
        return self._trainer.update(semantics, real, seed)


def judge(
    discriminator: MultiScaleDiscriminator, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, *, training: bool
) -> tuple[FeatureMaps, FeatureMaps]:
    """The discriminator's feature maps of real and of fake slices (B, y, x), seen in one batch."""
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
) -> TensorLosses:
    """Adversarial, feature matching and VGG losses of fake slices (B, y, x); the discriminator is not updated."""
    real_maps, fake_maps = judge(discriminator, semantics, real, fake, training=False)
    perceptual = perceptual_loss(vgg(fake[..., None]), vgg(real[..., None]))
    return {
        "adversarial": hinge_generator_loss(fake_maps),
        "feature_matching": feature_matching_loss(real_maps, fake_maps, weight=settings.feature_weight),
        "vgg": settings.vgg_weight * perceptual,
    }
