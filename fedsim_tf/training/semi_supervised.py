"""Stage 3, semi-supervised learning: the whole generator on annotated and unannotated volumes in turn.

The latents of unannotated volumes are drawn from the normal that was fitted to the learnt ones. A supervised step
repeats the losses of stages 1 and 2; the unsupervised ones after it, one unless configured otherwise, run from z to a
random slice and compare with the real one through the GAN's losses. The discriminator is frozen, which the paper found
to make this stage stable (section 2.2). It sees label and coarse CT beside the slice. In unsupervised steps these are
being learnt, so that the maps of the real slice depend on them as those of the enhanced slice do.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.models.latents import LatentDistribution, LatentTable
from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.enhancement import generator_losses
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import TTUR_BETAS, adam
from fedsim_tf.training.pictures import draw_generated_slices
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import SharedGradients, TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.volumes import UnlabelledVolumes, Volumes
from fedsim_tf.training.watch import Look, norms, rates, spectral_norms

Traced = tuple[TensorLosses, TensorLosses, SharedGradients]  # losses, norms by network, gradients to hand out


class SemiSupervised:
    """One site's side of stage 3: moves the site's latents and enhancement network, hands out the shared gradients."""

    name = "semi_supervised"

    def __init__(self, learner: SiteLearner):
        semi = learner.config.semi
        data = learner.data
        self.learner = learner
        self._supervised = GeneratorPretraining(learner)
        self._labels, self._labelled_images = self._supervised.labels, self._supervised.images
        self._labels.divide_whole_hearts(learner)
        self._unlabelled_images = tf.constant(data.unlabelled.images)
        self._generator = learner.model.enhancer.trainable_variables
        # One optimizer for each table: the momentum of one kind's steps must not move the latents of the other kind.
        self.labelled_optimizer = adam(semi.latent_rate, learner.labelled_latents.trainable_variables)
        self.unlabelled_optimizer = adam(semi.latent_rate, learner.unlabelled_latents.trainable_variables)
        self.generator_optimizer = adam(semi.gan_rate, self._generator, steps=semi.steps, betas=TTUR_BETAS)
        self._traced_supervised = tf.function(self._supervised_gradients, autograph=False)
        self._traced_unsupervised = tf.function(self._unsupervised_gradients, autograph=False)
        self._lengths = {name: tf.Variable(0.0, trainable=False) for name in ("shape", "material")}
        self.gradient_norms: TensorLosses = {}

    @property
    def objects(self) -> dict[str, tf.Module]:
        """Return what a checkpoint holds of this stage at this site, by name."""
        return {
            **self.learner.objects,
            "labelled_optimizer": self.labelled_optimizer,
            "unlabelled_optimizer": self.unlabelled_optimizer,
            "generator_optimizer": self.generator_optimizer,
            **{f"{name}_length": length for name, length in self._lengths.items()},
        }

    @property
    def seeds(self) -> StepSeeds:
        """Return what the generators of its steps are made from."""
        return self.learner.seeds(self.name)

    def look(self) -> Look:
        """Return latents, rates, spectral norms, and some slices of both kinds as the networks generate them."""
        learner = self.learner
        labelled, unlabelled = learner.labelled_latents.table, learner.unlabelled_latents.table
        scalars = {
            **rates(latents=self.labelled_optimizer, enhancer=self.generator_optimizer),
            **spectral_norms(enhancer=learner.model.enhancer, discriminator=learner.discriminator),
        }
        pictures = {
            "annotated": draw_generated_slices(learner, self._labelled_images, labelled),
            "unannotated": draw_generated_slices(learner, self._unlabelled_images, unlabelled),
        }
        return Look(scalars, pictures, {"z/annotated": labelled, "z/unannotated": unlabelled})

    def draw_latents(self, distribution: LatentDistribution) -> None:
        """Give every unannotated volume a latent from the fitted normal; called once, before the first step."""
        table = self.learner.unlabelled_latents.table
        table.assign(distribution.sample(table.shape[0], seed=self.learner.rng("latents/drawn")))

    def shared_gradients(self, index: int, rng: np.random.Generator) -> tuple[TensorLosses, SharedGradients]:
        """Do a supervised or an unsupervised step on a random batch.

        Returns:
          Its losses, and the gradients of `learner.shared_variables`.
        """
        batch = tf.constant(self._choose_batch(index, rng), tf.int32)
        slices = tf.constant(rng.integers(self.learner.config.model.size, size=len(batch)), tf.int32)
        traced = self._traced_supervised if self._is_supervised(index) else self._traced_unsupervised
        losses, self.gradient_norms, gradients = traced(batch, slices)
        return losses, gradients

    def list_batch(self, index: int) -> tuple[str, ...]:
        """Return the identities of the volumes that the step of this number learns from."""
        identities = self._volumes_of(index).identities
        return tuple(identities[number] for number in self._choose_batch(index, self.seeds.rng(index)))

    def _choose_batch(self, index: int, rng: np.random.Generator) -> np.ndarray:
        config, count = self.learner.config, len(self._volumes_of(index))
        size = config.pretraining.batch if self._is_supervised(index) else config.semi.batch
        return rng.choice(count, size=min(size, count), replace=False)

    def _is_supervised(self, index: int) -> bool:
        every = 1 + self.learner.config.semi.unsupervised_steps
        return index % every == 0 or len(self.learner.data.unlabelled) == 0

    def _volumes_of(self, index: int) -> Volumes | UnlabelledVolumes:
        data = self.learner.data
        return data.labelled if self._is_supervised(index) else data.unlabelled

    def _supervised_gradients(self, batch: tf.Tensor, slices: tf.Tensor) -> Traced:
        learner = self.learner
        with tf.GradientTape() as tape:
            z = learner.labelled_latents.lookup(batch)
            coarse = learner.model.coarse_ct(z)
            losses = self._supervised.compare(batch, z, coarse)
            real = take_slices(tf.gather(self._labelled_images, batch), slices)
            labels = self._labels.slices(batch, slices)
            # As in stage 2 these losses take the material as given: they move the enhancement network alone.
            enhanced = self._enhancement_losses(
                tf.stop_gradient(coarse), labels, slices, real, condition_is_learnt=False
            )
            losses.update({f"labelled_{key}": value for key, value in enhanced.items()})
            total = tf.add_n(list(losses.values()))
        found, shared = self._apply_own(tape, total, learner.labelled_latents, self.labelled_optimizer)
        for name, length in self._lengths.items():
            length.assign(found[name])
        return losses, found, shared

    def _unsupervised_gradients(self, batch: tf.Tensor, slices: tf.Tensor) -> Traced:
        model = self.learner.model
        with tf.GradientTape() as tape:
            z = self.learner.unlabelled_latents.lookup(batch)
            real = take_slices(tf.gather(self._unlabelled_images, batch), slices)
            labels = take_slices(model.labels(z), slices)
            enhanced = self._enhancement_losses(model.coarse_ct(z), labels, slices, real, condition_is_learnt=True)
            losses = {f"unlabelled_{key}": value for key, value in enhanced.items()}
            total = tf.add_n(list(losses.values()))
        latents = self.learner.unlabelled_latents
        found, shared = self._apply_own(tape, total, latents, self.unlabelled_optimizer)
        # The GAN's losses are up to a hundred times as steep as L_IoU and L_M, and differently so for each network.
        # Unscaled they would make the shared networks forget the annotated volumes.
        weight = self.learner.config.semi.unsupervised_weight
        scales = {name: weight * tf.math.divide_no_nan(old, found[name]) for name, old in self._lengths.items()}
        return losses, found, self.learner.scale_shared(shared, **scales)

    def _enhancement_losses(
        self,
        coarse: tf.Tensor,
        labels: tf.Tensor,
        slices: tf.Tensor,
        real: tf.Tensor,
        *,
        condition_is_learnt: bool,
    ) -> TensorLosses:
        learner, model = self.learner, self.learner.model
        semantics = model.semantics(coarse, labels, slices)
        fake = model.enhancer(semantics, training=True)[..., 0]
        return generator_losses(
            learner.discriminator,
            learner.vgg,
            learner.config.gan,
            semantics,
            real,
            fake,
            condition_is_learnt=condition_is_learnt,
        )

    def _apply_own(
        self, tape: tf.GradientTape, total: tf.Tensor, latents: LatentTable, optimizer: tf.keras.optimizers.Optimizer
    ) -> tuple[TensorLosses, SharedGradients]:
        """Move these latents and the enhancement network; return all gradients' norms and the shared gradients."""
        tables = latents.trainable_variables
        shared, own, generator = tape.gradient(total, [self.learner.shared_variables, tables, self._generator])
        optimizer.apply_gradients(zip(own, tables, strict=True))
        latents.project(self.learner.config.pretraining.latent_ball)
        self.generator_optimizer.apply_gradients(zip(generator, self._generator, strict=True))
        return {**self.learner.shared_norms(shared), **norms(latents=own, enhancer=generator)}, shared
