"""The 3D U-Net: pre-training, fine-tuning, and model selection on the validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedsim_tf.config import Config
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.metrics import dice
from fedsim_tf.models import built
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.training.batches import Batches
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pictures import SHOWN
from fedsim_tf.training.pretraining import SharedGradients, TensorLosses
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import Losses, run_stage
from fedsim_tf.training.volumes import Volumes
from fedsim_tf.training.watch import Look, montage, norms, rates

VALIDATION_ERROR = "validation_error"  # 100 less Dice in percent; stays at a federated site
Segmenter = Callable[[np.ndarray], np.ndarray]  # image (z, y, x) in [-1, 1] to heart or not, uint8


def train_segmenter(
    run: RunFolder, arm: str, *, pretrain: Volumes, finetune: Volumes | None, validation: Volumes
) -> Segmenter:
    """Trains one arm of a comparison; every arm has the same budget and augmentation.

    Args:
      run: the run's folder; the stages are called `segmentation/<arm>/pretrain` and `.../finetune`.
      pretrain: synthetic volumes, or real ones for the bounds.
      finetune: real annotated volumes; None to leave the second stage out.
      validation: chooses the best weights by Dice: the last stage's, or of both where both are on the same volumes.

    Returns:
      The best network as a function.
    """
    config, settings = run.config, run.config.segmentation
    network = UNetTraining(config, validation)
    _run(run, network, arm, "pretrain", pretrain, rate=settings.rate, steps=settings.pretraining_steps)
    if finetune is None:
        return segmenter(network.best)
    # A bound is on the same real volumes all the time: what its first stage found may be the best.
    return finetuned(run, network, arm, finetune, anew=finetune is not pretrain)


def finetuned(run: RunFolder, network: UNetTraining, arm: str, volumes: Volumes, *, anew: bool = True) -> Segmenter:
    """The second stage of an arm, on real annotated volumes, whatever the first one was; see `UNetTraining.begin`."""
    settings = run.config.segmentation
    rate, steps = settings.finetuning_rate, settings.finetuning_steps
    _run(run, network, arm, "finetune", volumes, rate=rate, steps=steps, anew=anew)
    return segmenter(network.best)


def _run(
    run: RunFolder,
    training: UNetTraining,
    arm: str,
    part: str,
    volumes: Volumes,
    *,
    rate: float,
    steps: int,
    anew: bool = True,
) -> None:
    # Arms draw the same order and augmentation: their differences are the data's alone.
    training.begin(volumes, rate=rate, steps=steps, stage=part, anew=anew)
    run_stage(
        run,
        f"segmentation/{arm}/{part}",
        steps=steps,
        step=training.step,
        objects=training.objects,
        watched=training,
        is_done=training.has_stopped_improving,
    )


def segmenter(network: UNet3D) -> Segmenter:
    """The network as a function from one image (z, y, x) in [-1, 1] to a mask (z, y, x) uint8."""
    threshold = lambda image: network(image[None, ..., None])[0, ..., 0] > 0  # noqa: E731
    predict = tf.function(threshold, autograph=False)
    return lambda image: predict(tf.constant(image, tf.float32)).numpy().astype(np.uint8)


def mean_dice(segment: Segmenter, volumes: Volumes) -> float:
    """Mean Dice in percent over volumes."""
    return float(np.mean([dice(segment(i), j) for i, j in zip(volumes.images, volumes.labels, strict=True)]))


class UNetTraining:
    """A U-Net in training and its best state so far."""

    def __init__(self, config: Config, validation: Volumes):
        self._config, self._validation = config, validation
        # Every arm and every site starts from the same weights.
        self.network, self.best = (built.unet(config.model, seed=config.seed) for _ in range(2))
        self._rate, self._length = tf.Variable(0.0, trainable=False), tf.Variable(1.0, trainable=False)
        self._optimizer = adam(self._rate, self.network.trainable_variables, steps=self._length)
        self._traced = tf.function(self._update, autograph=False)
        self._traced_gradients = tf.function(self._gradients, autograph=False)
        self._best_dice = tf.Variable(-1.0, trainable=False)
        self._looks_since = tf.Variable(0, trainable=False)  # at the validation part, since the best one
        self._predict = segmenter(self.network)
        self.gradient_norms: TensorLosses = {}

    def begin(
        self,
        volumes: Volumes,
        *,
        rate: float,
        steps: int,
        stage: str,
        batch: int | None = None,
        anew: bool = True,
        secret: str = "",
    ) -> None:
        """A new stage: other volumes, a fresh optimizer.

        Args:
          volumes: what to learn from.
          rate: Adam's; steps: of the stage, for the schedule.
          stage: a word on which the order and the augmentation of the volumes depend.
          batch: volumes a step; None: as configured.
          anew: whether the best weights are looked for among this stage's alone.
          secret: see `step_rng`.
        """
        settings = self._config.segmentation
        size, seed, augment = batch or settings.batch, self._config.seed, settings.augment
        self._batches = Batches(volumes, size=size, seed=seed, stage=stage, augment=augment, secret=secret)
        self._steps = steps
        for variable in self._optimizer.variables:
            variable.assign(tf.zeros_like(variable))
        self._rate.assign(rate)
        self._length.assign(steps)
        if anew:
            self._best_dice.assign(-1.0)
        self._looks_since.assign(0)

    @property
    def objects(self) -> dict[str, tf.Module]:
        return {
            "network": self.network,
            "best": self.best,
            "best_dice": self._best_dice,
            "looks_since": self._looks_since,
            "optimizer": self._optimizer,
        }

    def look(self) -> Look:
        """The rate, and `validation_slices`."""
        return Look(rates(unet=self._optimizer), self.validation_slices())

    def validation_slices(self) -> dict[str, np.ndarray]:
        """Middle slices of the validation part as a picture: real, true, found."""
        volumes, count = self._validation, min(SHOWN, len(self._validation))
        middle = volumes.images.shape[1] // 2
        found = [2.0 * self._predict(image)[middle] - 1.0 for image in volumes.images[:count]]
        columns = [volumes.images[:count, middle], 2.0 * volumes.labels[:count, middle] - 1.0, np.stack(found)]
        return {"validation": montage(columns)}

    def has_stopped_improving(self) -> bool:
        """Whether the validation part has been looked at `patience` times since the best look; never if that is 0."""
        patience = self._config.segmentation.patience
        return bool(patience) and int(self._looks_since) >= patience

    def step(self, step: int) -> Losses:
        """One step; every few, Dice on the validation part."""
        loss, self.gradient_norms = self._traced(*self._batches.at(step))
        return self._with_validation(step, loss)

    def shared_gradients(self, step: int) -> tuple[TensorLosses, SharedGradients]:
        """The gradients of a step instead, for others to move the network by; Dice is of the network before it."""
        loss, self.gradient_norms, gradients = self._traced_gradients(*self._batches.at(step))
        return self._with_validation(step, loss), gradients

    def _with_validation(self, step: int, loss: tf.Tensor) -> TensorLosses:
        losses: TensorLosses = {"loss": loss}
        if (step + 1) % self._config.segmentation.validation_every == 0 or step + 1 == self._steps:
            losses[VALIDATION_ERROR] = 100.0 - self._select()
        return losses

    def _gradients(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, TensorLosses, SharedGradients]:
        with tf.GradientTape() as tape:
            weight = self._config.segmentation.heart_weight
            loss = segmentation_loss(self.network(images), labels, heart_weight=weight)
        gradients = tape.gradient(loss, self.network.trainable_variables)
        return loss, norms(unet=gradients), gradients

    def _update(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, TensorLosses]:
        loss, its_norms, gradients = self._gradients(images, labels)
        self._optimizer.apply_gradients(zip(gradients, self.network.trainable_variables, strict=True))
        return loss, its_norms

    def _select(self) -> float:
        """Dice on the validation part; keeps the weights if it is the best so far."""
        score = mean_dice(self._predict, self._validation)
        self._looks_since.assign_add(1)
        if score > float(self._best_dice):
            self._best_dice.assign(score)
            self._looks_since.assign(0)
            self.best.set_weights(self.network.get_weights())
        return score
