"""Stage 2, GAN pre-training: the enhancement network and its discriminator on annotated slices.

Ground-truth label slices and generated material go in, the real CT slices are the target, so that the network learns
to respect the label's outline (section 2.2). Losses and two-rate Adam are those of Park et al. 2019 (GauGAN).
"""

from __future__ import annotations

import tensorflow as tf

from fedsim_tf.losses import (
    feature_matching_loss,
    hinge_discriminator_loss,
    hinge_generator_loss,
    perceptual_loss,
)
from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import TTUR_BETAS, adam
from fedsim_tf.training.pretraining import TensorLosses, fitted_coarse_ct
from fedsim_tf.training.stage import step_rng


class EnhancementPretraining:
    """Stage 2 at one site; nothing of it is shared."""

    name = "gan"

    def __init__(self, learner: SiteLearner):
        gan = learner.config.gan
        self._learner = learner
        self._images = tf.constant(learner.data.labelled.images)
        self._labels = tf.constant(learner.data.labelled.labels)
        self._coarse = tf.constant(fitted_coarse_ct(learner))
        self._generator = learner.model.enhancer.trainable_variables
        self._critic = learner.discriminator.trainable_variables
        self.generator_optimizer = adam(gan.generator_rate, self._generator, steps=gan.steps, betas=TTUR_BETAS)
        self.critic_optimizer = adam(gan.discriminator_rate, self._critic, steps=gan.steps, betas=TTUR_BETAS)
        self._traced = tf.function(self._update)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds of this stage."""
        optimizers = {"generator_optimizer": self.generator_optimizer, "critic_optimizer": self.critic_optimizer}
        return {**self._learner.objects, **optimizers}

    def step(self, step: int) -> TensorLosses:
        """One step of the discriminator, then one of the generator, on random slices of random volumes."""
        config = self._learner.config
        rng = step_rng(config.seed, self.name, step)
        volumes = rng.integers(len(self._learner.data.labelled), size=config.gan.batch)
        slices = rng.integers(config.model.size, size=config.gan.batch)
        return self._traced(tf.constant(volumes, tf.int32), tf.constant(slices, tf.int32))

    def _update(self, volumes: tf.Tensor, slices: tf.Tensor) -> TensorLosses:
        learner = self._learner
        real = take_slices(tf.gather(self._images, volumes), slices)
        labels = take_slices(tf.gather(self._labels, volumes), slices)
        semantics = learner.model.semantics(tf.gather(self._coarse, volumes), labels, slices)
        with tf.GradientTape() as tape:
            fake = learner.model.enhancer(semantics, training=True)[..., 0]
            critic_loss = self._update_critic(semantics, real, fake)
            losses = generator_losses(learner, semantics, real, fake)
            total = tf.add_n(list(losses.values()))
        gradients = tape.gradient(total, self._generator)
        self.generator_optimizer.apply_gradients(zip(gradients, self._generator, strict=True))
        return {"discriminator": critic_loss, **losses}

    def _update_critic(self, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            real_maps, fake_maps = judge(self._learner, semantics, real, tf.stop_gradient(fake), training=True)
            loss = hinge_discriminator_loss(real_maps, fake_maps)
        gradients = tape.gradient(loss, self._critic)
        self.critic_optimizer.apply_gradients(zip(gradients, self._critic, strict=True))
        return loss


def judge(learner: SiteLearner, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor, *, training: bool):
    """The discriminator's feature maps of real and of fake slices (B, y, x), seen in one batch."""
    pairs = tf.concat(
        [tf.concat([semantics, real[..., None]], -1), tf.concat([semantics, fake[..., None]], -1)], axis=0
    )
    maps = learner.discriminator(pairs, training=training)
    halves = [[tf.split(level, 2) for level in scale] for scale in maps]
    return [[half[0] for half in scale] for scale in halves], [[half[1] for half in scale] for scale in halves]


def generator_losses(learner: SiteLearner, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> TensorLosses:
    """Adversarial, feature matching and VGG losses of fake slices (B, y, x); the discriminator is not updated."""
    gan = learner.config.gan
    real_maps, fake_maps = judge(learner, semantics, real, fake, training=False)
    perceptual = perceptual_loss(learner.vgg(fake[..., None]), learner.vgg(real[..., None]))
    return {
        "adversarial": hinge_generator_loss(fake_maps),
        "feature_matching": feature_matching_loss(real_maps, fake_maps, weight=gan.feature_weight),
        "vgg": gan.vgg_weight * perceptual,
    }
