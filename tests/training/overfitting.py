"""Lets every stage learn one volume, or one slice of it, by heart, which it must manage before it can generalise."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from fedsim_tf.losses import perceptual_loss
from fedsim_tf.metrics import iou
from fedsim_tf.models.generators import project_nonnegative
from fedsim_tf.synthesis import downsample, scan, take_slices
from fedsim_tf.training.enhancement import EnhancementTrainer, generator_losses
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import SharedStage
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.simulation import SingleSiteStage
from fedsim_tf.training.volumes import SiteVolumes, UnlabelledVolumes, Volumes

FIRST = tf.constant([0])


class GeneratorFit(NamedTuple):
    """What stage 1 has made of the volume."""

    iou: float  # percent, of masks cut at one half
    error: float  # root mean square of the coarse CT, relative to the true one's range
    label: np.ndarray  # (z, y, x) bool
    coarse: np.ndarray  # (c, c, c)
    true_coarse: np.ndarray


class SliceFit(NamedTuple):
    """What stage 2 has made of a slice, and how far its VGG features lie from those of the real slice."""

    distance: float
    distance_of_grey: float  # of the slice's mean everywhere, which is what a network that has learnt nothing gives
    rendered: np.ndarray  # (y, x)
    semantics: np.ndarray  # (y, x, 3)


def with_one_volume(site: SiteVolumes, number: int = 0) -> SiteVolumes:
    """Return a site whose only annotated volume, and whose only unannotated one, is the given volume of `site`."""
    one = slice(number, number + 1)
    whole = site.labelled
    only = Volumes(whole.identities[one], whole.images[one], whole.labels[one])
    other = UnlabelledVolumes(only.identities, only.images)
    return dataclasses.replace(site, labelled=only, fully_labelled=only, unlabelled=other)


def fit_generator(learner: SiteLearner, *, steps: int) -> GeneratorFit:
    """Run stage 1 on the site's only volume."""
    _move_shared(GeneratorPretraining(learner), rate=learner.config.pretraining.rate, steps=steps)
    return measure_generator(learner, learner.labelled_latents.lookup(FIRST))


def measure_generator(learner: SiteLearner, z: tf.Tensor) -> GeneratorFit:
    """Compare what the networks make of a latent (1, d) with the site's only volume."""
    truth = learner.data.labelled
    label, coarse = learner.model.labels(z)[0].numpy() > 0.5, learner.model.coarse_ct(z)[0].numpy()
    target = downsample(truth.images, learner.model.coarse_size)[0]
    error = float(np.sqrt(np.mean(np.square(coarse - target))) / np.ptp(target))
    return GeneratorFit(iou(label, truth.labels[0]), error, label, coarse, target)


def best_coarse_error(learner: SiteLearner, *, steps: int = 300) -> float:
    """Return `GeneratorFit.error` of a material map of free, never negative voxels instead of a network's.

    The rest of the error is the scan's: Feldkamp's artefacts at the ends of the cone, and air that would have to be
    negative.
    """
    model, target = learner.model, tf.constant(downsample(learner.data.labelled.images, learner.model.coarse_size))
    voxels = tf.Variable(learner.model.material_generator(learner.labelled_latents.lookup(FIRST)))
    optimizer = adam(1e-3, [voxels], steps=steps)

    def update() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.square(scan(model.simulator, project_nonnegative(voxels), learner.config) - target)
            )
        optimizer.apply_gradients([(tape.gradient(loss, voxels), voxels)])
        return loss

    traced = tf.function(update, autograph=False)
    for _ in range(steps):
        loss = traced()
    return float(np.sqrt(loss) / np.ptp(target))


def fit_slice(learner: SiteLearner, k: int, *, steps: int) -> SliceFit:
    """Run stage 2 on slice k of the site's only volume."""
    model, truth, index = learner.model, learner.data.labelled, tf.constant([k])
    trainer = EnhancementTrainer(model.enhancer, learner.discriminator, learner.vgg, learner.config.gan)
    real, label = (take_slices(tf.constant(part), index) for part in (truth.images, truth.labels))
    coarse = tf.constant(downsample(truth.images, model.coarse_size))
    semantics = model.semantics(coarse, label, index)
    update = tf.function(trainer.update, autograph=False)
    for _ in range(steps):
        update(semantics, real, tf.zeros(2, tf.int32))
    rendered = model.enhancer(semantics, training=False)[..., 0]
    grey = tf.fill(real.shape, tf.reduce_mean(real))
    distance, of_grey = (
        float(perceptual_loss(learner.vgg(image[..., None]), learner.vgg(real[..., None])))
        for image in (rendered, grey)
    )
    return SliceFit(distance, of_grey, rendered[0].numpy(), semantics[0].numpy())


def fit_unannotated(learner: SiteLearner, *, steps: int, noise: float) -> tuple[float, float, GeneratorFit]:
    """Run stage 3 after stages 1 and 2, from the latent of the volume with some noise added.

    Returns:
      The GAN's losses over all slices of the unannotated volume, before and after; and what the annotated one's latent
      says after.
    """
    semi = SemiSupervised(learner)
    known = learner.labelled_latents.lookup(FIRST)
    learner.unlabelled_latents.table.assign(known + noise * tf.random.stateless_normal(known.shape, seed=(0, 0)))
    before = _unannotated_loss(learner)
    _move_shared(semi, rate=learner.config.semi.rate, steps=steps)
    return before, _unannotated_loss(learner), measure_generator(learner, learner.labelled_latents.lookup(FIRST))


def _unannotated_loss(learner: SiteLearner) -> float:
    """Return the sum of the GAN's losses, slice by slice as in training, so that batch norm sees what it sees there."""
    model, z, images = learner.model, learner.unlabelled_latents.lookup(FIRST), learner.data.unlabelled.images
    coarse, labels = model.coarse_ct(z), model.labels(z)

    def loss(index: tf.Tensor) -> tf.Tensor:
        semantics = model.semantics(coarse, take_slices(labels, index), index)
        fake, real = model.enhancer(semantics, training=True)[..., 0], take_slices(tf.constant(images), index)
        losses = generator_losses(
            learner.discriminator, learner.vgg, learner.config.gan, semantics, real, fake, condition_is_learnt=True
        )
        return tf.add_n(list(losses.values()))

    traced = tf.function(loss, autograph=False)
    return float(np.mean([traced(tf.constant([k])) for k in range(model.size)]))


def fit_segmentation(training: UNetTraining, volumes: Volumes, *, rate: float, steps: int) -> np.ndarray:
    """Train the 3D U-Net on the first volume without augmentation; return the mask (z, y, x) that it finds there."""
    images, labels = (tf.constant(part[:1, ..., None]) for part in (volumes.images, volumes.labels))
    training.begin(volumes, rate=rate, steps=steps, stage="overfitting")
    for _ in range(steps):
        training._traced(images, labels)
    return training.network(images).numpy()[0, ..., 0] > 0


def _move_shared(stage: SharedStage, *, rate: float, steps: int) -> None:
    alone = SingleSiteStage(stage, rate=rate, steps=steps)
    for index in range(steps):
        alone.step(index, alone.seeds.rng(index))
