"""The 3D U-Net: pre-training, fine-tuning, and model selection on the validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedsim_tf.config import Config
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.metrics import dice
from fedsim_tf.models import UNet3D, built
from fedsim_tf.training.augmentation import augmented
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import Losses, run_stage, step_rng
from fedsim_tf.training.volumes import Volumes

Segmenter = Callable[[np.ndarray], np.ndarray]  # image (z, y, x) in [-1, 1] to heart or not, uint8


def train_segmenter(
    run: RunFolder, arm: str, *, pretrain: Volumes, finetune: Volumes, validation: Volumes
) -> Segmenter:
    """Trains one arm of a comparison; every arm has the same budget, augmentation and selection.

    Args:
      run: the run's folder; the stages are called `segmentation/<arm>/pretrain` and `.../finetune`.
      pretrain: synthetic volumes, or real ones for the bounds.
      finetune: real annotated volumes.
      validation: chooses the best weights of fine-tuning by Dice.

    Returns:
      The best network as a function.
    """
    config, settings = run.config, run.config.segmentation
    tf.keras.utils.set_random_seed(config.seed)  # every arm starts from the same weights
    network = UNetTraining(config, validation)
    first = f"segmentation/{arm}/pretrain"
    network.begin(pretrain, rate=settings.rate, steps=settings.pretraining_steps, stage=first)
    run_stage(run, first, steps=settings.pretraining_steps, step=network.step, objects=network.objects)
    second = f"segmentation/{arm}/finetune"
    network.begin(finetune, rate=settings.finetuning_rate, steps=settings.finetuning_steps, stage=second)
    run_stage(run, second, steps=settings.finetuning_steps, step=network.step, objects=network.objects)
    return segmenter(network.best)


def segmenter(network: UNet3D) -> Segmenter:
    """The network as a function from one image (z, y, x) in [-1, 1] to a mask (z, y, x) uint8."""
    threshold = lambda image: network(image[None, ..., None], training=False)[0, ..., 0] > 0  # noqa: E731
    predict = tf.function(threshold, autograph=False)
    return lambda image: predict(tf.constant(image, tf.float32)).numpy().astype(np.uint8)


def mean_dice(segment: Segmenter, volumes: Volumes) -> float:
    """Mean Dice in percent over volumes."""
    return float(np.mean([dice(segment(i), j) for i, j in zip(volumes.images, volumes.labels, strict=True)]))


class UNetTraining:
    """A U-Net in training and its best state so far."""

    def __init__(self, config: Config, validation: Volumes):
        self._config, self._validation = config, validation
        self.network, self.best = built.unet(config.model), built.unet(config.model)
        self._rate, self._length = tf.Variable(0.0, trainable=False), tf.Variable(1.0, trainable=False)
        self._optimizer = adam(self._rate, self.network.trainable_variables, steps=self._length)
        self._traced = tf.function(self._update, autograph=False)
        self._best_dice = tf.Variable(-1.0, trainable=False)
        self._predict = segmenter(self.network)

    def begin(self, volumes: Volumes, *, rate: float, steps: int, stage: str) -> None:
        """A new stage: other volumes, a fresh optimizer; selection starts anew from the present weights."""
        self._volumes, self._steps, self._stage = volumes, steps, stage
        for variable in self._optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self._rate.assign(rate)
        self._length.assign(steps)
        self._best_dice.assign(-1.0)

    @property
    def objects(self) -> dict[str, tf.Module]:
        return {
            "network": self.network,
            "best": self.best,
            "best_dice": self._best_dice,
            "optimizer": self._optimizer,
        }

    def step(self, step: int) -> Losses:
        rng = step_rng(self._config.seed, self._stage, step)
        chosen = rng.integers(len(self._volumes), size=self._config.segmentation.batch)
        pairs = [augmented(self._volumes.images[i], self._volumes.labels[i], rng) for i in chosen]
        images, labels = (np.stack(part)[..., None] for part in zip(*pairs, strict=True))
        losses = {"loss": self._traced(tf.constant(images), tf.constant(labels))}
        if (step + 1) % self._config.segmentation.validation_every == 0 or step + 1 == self._steps:
            losses["validation_error"] = 100.0 - self._select()
        return losses

    def _update(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        variables = self.network.trainable_variables
        with tf.GradientTape() as tape:
            loss = segmentation_loss(self.network(images, training=True), labels)
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def _select(self) -> float:
        """Dice on the validation part; keeps the weights if it is the best so far."""
        score = mean_dice(self._predict, self._validation)
        if score > float(self._best_dice):
            self._best_dice.assign(score)
            self.best.set_weights(self.network.get_weights())
        return score
