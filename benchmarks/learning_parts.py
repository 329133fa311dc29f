"""Measures the parts of a step of generator pre-training and of an unsupervised step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from benchmarks.steps import random_site
from fedsim_tf.config import make_config
from fedsim_tf.losses import (
    feature_matching_loss,
    hinge_generator_loss,
    iou_loss,
    material_losses,
    perceptual_loss,
    slice_features,
)
from fedsim_tf.models import built
from fedsim_tf.runs.inputs import open_shape_model
from fedsim_tf.synthesis import take_slices
from fedsim_tf.training.enhancement import discriminate
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.watch import norms

Call = Callable[[], object]


def make_learner(size: int, precision: str) -> SiteLearner:
    model = {"size": size, "vgg_weights": "random"} | ({"precision": precision} if precision else {})
    config = make_config("paper", model=model)
    return SiteLearner(config, open_shape_model(config), random_site(config), built.vgg_features(config.model))


def measure_ms(calls: dict[str, Call], *, rounds: int) -> dict[str, float]:
    """Make the calls in turn and return the median milliseconds of each; its first two calls do not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number > 1:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(found)) for name, found in times.items()}


def differentiate(
    forward: Callable[..., object], *inputs: tf.Tensor, variables: Sequence[tf.Variable] = (), towards: bool = True
) -> Call:
    """Return a traced call of `forward` and of its gradients to the variables and, if `towards`, to the inputs."""

    def both(*given: tf.Tensor):
        with tf.GradientTape() as tape:
            if towards:
                tape.watch(given)
            out = forward(*given)
        return out, tape.gradient(out, [*(given if towards else ()), *variables])

    traced = tf.function(both, autograph=False)
    return lambda: _wait(traced(*inputs))


def apply_optimizers(
    optimizers: Sequence[tf.keras.optimizers.Optimizer], variables: Sequence[Sequence[tf.Variable]]
) -> Call:
    """Return a traced call of optimizers, each on its variables, and of the gradients' norms."""

    def move(given):
        for optimizer, gradients, moved in zip(optimizers, given, variables, strict=True):
            optimizer.apply_gradients(zip(gradients, moved, strict=True))
        return [norms(all=gradients) for gradients in given]

    gradients = [[1e-3 * tf.ones_like(variable) for variable in moved] for moved in variables]
    traced = tf.function(move, autograph=False)
    return lambda: _wait(traced(gradients))


def _wait(outputs: object) -> None:
    """Wait for the last of the outputs."""
    for tensor in tf.nest.flatten(outputs)[-1:]:
        if tensor is not None:
            tensor.numpy()


def pretraining_calls(learner: SiteLearner) -> dict[str, Call]:
    """Return calls of the whole step of stage 1 and of its parts."""
    model, batch = learner.model, learner.config.pretraining.batch
    stage, shared = GeneratorPretraining(learner), learner.shared_variables
    optimizer = adam(learner.config.pretraining.rate, shared, steps=10000)
    move = tf.function(lambda given: optimizer.apply_gradients(zip(given, shared, strict=True)), autograph=False)

    def whole() -> None:
        losses, gradients = stage.shared_gradients(0, stage.seeds.rng(0))
        move(gradients)
        losses["iou"].numpy()

    z = learner.labelled_latents.table[:batch]
    tau, mu = model.shape_generator(z), model.material_generator(z)
    coarse, labels = model.coarse_ct(z), tf.constant(learner.data.labelled.labels)
    target, tables = 0.9 * coarse, learner.labelled_latents.trainable_variables
    own, features = adam(1e-2, tables), slice_features(learner.vgg, target)
    return {
        "whole": whole,
        "shape and material networks": differentiate(
            lambda given: [model.shape_generator(given), model.material_generator(given)], z, variables=shared
        ),
        "shape decoder and L_IoU": differentiate(
            lambda given: iou_loss(model.decoder(given), tf.gather(labels, tf.range(batch))), tau
        ),
        "CT simulator": differentiate(model.simulator, mu),
        "VGG and L_M": differentiate(lambda given: material_losses(learner.vgg, given, target, features), coarse),
        "optimizers and norms": apply_optimizers([optimizer, own], [shared, tables]),
    }


def semi_supervised_calls(learner: SiteLearner) -> dict[str, Call]:
    """Return calls of the whole unsupervised step of stage 3 and of its parts."""
    model, size, semi = learner.model, learner.config.model.size, learner.config.semi
    stage, shared = SemiSupervised(learner), learner.shared_variables
    optimizer = adam(semi.rate, shared, steps=10000)
    move = tf.function(lambda given: optimizer.apply_gradients(zip(given, shared, strict=True)), autograph=False)

    def whole() -> None:
        losses, gradients = stage.shared_gradients(1, stage.seeds.rng(1))  # step 0 is supervised
        move(gradients)
        losses["unlabelled_vgg"].numpy()

    index = tf.constant([size // 2] * semi.batch, tf.int32)
    z = learner.unlabelled_latents.table[: semi.batch]
    tau, mu, coarse = model.shape_generator(z), model.material_generator(z), model.coarse_ct(z)
    labels = take_slices(model.labels(z), index)
    semantics = model.semantics(coarse, labels, index)
    fake = model.enhancer(semantics, training=True)[..., 0]
    real = take_slices(tf.constant(learner.data.unlabelled.images[: semi.batch]), index)
    enhancer, tables = model.enhancer.trainable_variables, learner.unlabelled_latents.trainable_variables
    optimizers = [optimizer, stage.unlabelled_optimizer, stage.generator_optimizer]
    return {
        "whole": whole,
        "shape and material networks": differentiate(
            lambda given: [model.shape_generator(given), model.material_generator(given)], z, variables=shared
        ),
        "shape decoder": differentiate(lambda given: take_slices(model.decoder(given), index), tau),
        "CT simulator": differentiate(model.simulator, mu),
        "enhancer": differentiate(
            lambda given: model.enhancer(given, training=True), semantics, variables=list(enhancer)
        ),
        "discriminator": differentiate(lambda a, b: _discriminator_loss(learner, a, real, b), semantics, fake),
        "VGG": differentiate(
            lambda given: perceptual_loss(learner.vgg(given[..., None]), learner.vgg(real[..., None])), fake
        ),
        "optimizers and norms": apply_optimizers(optimizers, [shared, tables, enhancer]),
    }


def _discriminator_loss(learner: SiteLearner, semantics: tf.Tensor, real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    real_maps, fake_maps = discriminate(learner.discriminator, semantics, real, fake, training=False)
    matching = feature_matching_loss(real_maps, fake_maps, condition_is_learnt=True)
    return hinge_generator_loss(fake_maps) + matching


CALLS = {"pretraining": pretraining_calls, "semi": semi_supervised_calls}
