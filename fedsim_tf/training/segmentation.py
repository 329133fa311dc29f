"""Training of the 3D U-Net: pre-training, fine-tuning, and model selection on the validation part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from fedsim_tf.config import Config
from fedsim_tf.losses import segmentation_loss
from fedsim_tf.metrics import annotated_regions, dice, mean_region_dice
from fedsim_tf.models import built
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.regions import REGION_IDS, is_whole_heart
from fedsim_tf.training.batches import Batches, choose_labels
from fedsim_tf.training.optimizers import adam
from fedsim_tf.training.pictures import SHOWN
from fedsim_tf.training.protocols import Losses, SharedGradients, TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import run_stage
from fedsim_tf.training.volumes import Volumes
from fedsim_tf.training.watch import Look, montage, norms, rates

VALIDATION_ERROR = "validation_error"  # 100 less Dice in percent; a federated site does not send it
Segmenter = Callable[[np.ndarray], np.ndarray]  # image (z, y, x) in [-1, 1] to heart or not, or to region ids, uint8


def train_segmenter(
    run: RunFolder,
    network: UNetTraining,
    arm: str,
    *,
    pretrain: Volumes,
    finetune: Volumes | None,
    augmented: bool = False,
) -> Segmenter:
    """Train one arm of a comparison from the first weights; every arm has the same budget.

    Args:
      run: the run's folder; the stages are called `segmentation/<arm>/pretrain` and `.../finetune`.
      network: a U-Net, which may have learnt another arm before. Its best weights are chosen among those of the last
        stage, or of both stages where both learn from the same volumes.
      arm: the arm's name.
      pretrain: synthetic volumes, or real ones for the bounds.
      finetune: real annotated volumes; None: there is no second stage.
      augmented: see `UNetTraining.begin`.

    Returns:
      The best network as a function.
    """
    settings = run.config.segmentation
    network.forget()
    rate, steps = settings.rate, settings.pretraining_steps
    _run(run, network, arm, "pretrain", pretrain, rate=rate, steps=steps, augmented=augmented)
    if finetune is None:
        return network.keep_best()
    # A bound learns from the same real volumes in both stages: the best weights may be those of the first.
    return finetune_segmenter(run, network, arm, finetune, anew=finetune is not pretrain, augmented=augmented)


def finetune_segmenter(
    run: RunFolder, network: UNetTraining, arm: str, volumes: Volumes, *, anew: bool = True, augmented: bool = False
) -> Segmenter:
    """Run the second stage of an arm, on real annotated volumes; return the best network as a function.

    Args:
      run, arm: see `train_segmenter`.
      network: as the first stage, whatever it was, has left it.
      volumes: what to learn from.
      anew, augmented: see `UNetTraining.begin`.
    """
    settings = run.config.segmentation
    rate, steps = settings.finetuning_rate, settings.finetuning_steps
    _run(run, network, arm, "finetune", volumes, rate=rate, steps=steps, anew=anew, augmented=augmented)
    return network.keep_best()


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
    augmented: bool = False,
) -> None:
    # The arm is no part of the word for random choices: arms differ by their data, not by order or random changes.
    name = f"segmentation/{arm}/{part}"
    training.begin(volumes, rate=rate, steps=steps, stage=part, name=name, anew=anew, augmented=augmented)
    run_stage(run, training, steps=steps, is_done=training.has_stopped_improving)


def make_segmenter(network: UNet3D) -> Segmenter:
    """Return the network as a function from one image (z, y, x) in [-1, 1] to a mask (z, y, x) uint8.

    The mask is heart or not; of a network that tells regions apart it has the id of each voxel's most probable region,
    0 where that is the background. The heart is where ids are above 0.
    """

    predict = tf.function(lambda image: decide_mask(network(image[None, ..., None])[0]), autograph=False)
    return lambda image: predict(tf.constant(image, tf.float32)).numpy()


def decide_mask(logits: tf.Tensor) -> tf.Tensor:
    """Return the mask (...) uint8 of logits (..., outputs): heart or not of one output, else region ids."""
    found = logits[..., 0] > 0 if logits.shape[-1] == 1 else tf.argmax(logits, axis=-1)
    return tf.cast(found, tf.uint8)


def mean_dice(segment: Segmenter, volumes: Volumes) -> float:
    """Return the mean Dice in percent over volumes.

    A volume's Dice is that of the heart, or where its label tells regions apart the mean over its regions, see
    `metrics.compare_regions`: chambers and vessels weigh alike, and a network that finds the heart but confuses its
    regions is no good one.
    """
    if volumes.regions is None:
        return float(np.mean([dice(segment(i), j) for i, j in zip(volumes.images, volumes.labels, strict=True)]))
    regions = annotated_regions(volumes.regions)
    each = []
    for image, truth in zip(volumes.images, volumes.regions, strict=True):
        found = segment(image)
        whole = is_whole_heart(truth)
        each.append(dice(found, truth) if whole else mean_region_dice(found, truth, regions=regions))
    return float(np.mean(each))


class _KeptWeights:
    """Segments with several sets of weights by turns in one network, which is traced once."""

    def __init__(self, network: UNet3D):
        self._network, self._segment = network, make_segmenter(network)
        self._weights: list[np.ndarray] = []

    def segmenter(self, weights: list[np.ndarray]) -> Segmenter:
        def segment(image: np.ndarray) -> np.ndarray:
            if self._weights is not weights:
                self._network.set_weights(weights)
                self._weights = weights
            return self._segment(image)

        return segment


class UNetTraining:
    """A U-Net in training and its best state so far; each `begin` makes it another stage.

    Arms share one of these: what it is traced to once serves all of them, and tracing takes longer than a small step.

    Args:
      config: the run's.
      validation: the volumes whose Dice, see `mean_dice`, says which state is the best.

    Attributes:
      network: the U-Net as it is now.
      best: a U-Net with the best weights so far.
      name, seeds: those of the stage under way; see `protocols.Stage`.
      gradient_norms: the norm of the gradients in the last step.
    """

    def __init__(self, config: Config, validation: Volumes):
        self._config, self._validation = config, validation
        self._by_region = config.model.by_region
        # Every arm and every site starts from the same weights.
        self.network, self.best = (built.unet(config.model, seed=config.seed) for _ in range(2))
        self._rate, self._length = tf.Variable(0.0, trainable=False), tf.Variable(1.0, trainable=False)
        self._optimizer = adam(self._rate, self.network.trainable_variables, steps=self._length)
        self._traced = tf.function(self._update, autograph=False)
        self._traced_gradients = tf.function(self._gradients, autograph=False)
        self._best_dice = tf.Variable(-1.0, trainable=False)
        self._looks_since = tf.Variable(0, trainable=False)  # scores on the validation part since the best one
        self._predict = make_segmenter(self.network)
        self.gradient_norms: TensorLosses = {}
        self._first_weights = self.network.get_weights()
        self._kept: _KeptWeights | None = None

    def forget(self) -> None:
        """Go back to the weights that every arm starts from."""
        for network in (self.network, self.best):
            network.set_weights(self._first_weights)
        self._best_dice.assign(-1.0)

    def keep_best(self) -> Segmenter:
        """Return the best network so far as a function that further training does not change."""
        if self._kept is None:
            self._kept = _KeptWeights(built.unet(self._config.model, seed=self._config.seed))
        return self._kept.segmenter(self.best.get_weights())

    def begin(
        self,
        volumes: Volumes,
        *,
        rate: float,
        steps: int,
        stage: str,
        name: str | None = None,
        batch: int | None = None,
        anew: bool = True,
        augmented: bool = False,
        secret: str = "",
    ) -> None:
        """Begin a new stage with other volumes and a fresh optimizer; the weights stay.

        Args:
          volumes: what to learn from.
          rate: Adam's; steps: the stage's length, for the schedule.
          stage: a word on which the order and the augmentation of the volumes depend.
          name: the stage's name in the run's folder; None: `stage`.
          batch: volumes a step; None: as configured.
          anew: whether the best weights are looked for among this stage's alone.
          augmented: whether volumes are changed at random, where the configuration does not have it of all arms anyway.
          secret: see `step_rng`.
        """
        settings = self._config.segmentation
        self.name, self.seeds = name or stage, StepSeeds(self._config.seed, stage, secret)
        size, augment = batch or settings.batch, settings.augment or augmented
        self._batches = Batches(volumes, size=size, seeds=self.seeds, augment=augment, by_region=self._by_region)
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
        """Return what a checkpoint holds, by name."""
        return {
            "network": self.network,
            "best": self.best,
            "best_dice": self._best_dice,
            "looks_since": self._looks_since,
            "optimizer": self._optimizer,
        }

    def look(self) -> Look:
        """Return the rate and `validation_slices`."""
        return Look(rates(unet=self._optimizer), self.validation_slices())

    def validation_slices(self) -> dict[str, np.ndarray]:
        """Return a picture of the middle slices of validation volumes: CT, true mask, found mask."""
        volumes, count = self._validation, min(SHOWN, len(self._validation))
        middle = volumes.images.shape[1] // 2
        labels = choose_labels(volumes, by_region=self._by_region)
        found = [_to_greys(self._predict(image)[middle], self._by_region) for image in volumes.images[:count]]
        truth = _to_greys(labels[:count, middle], labels is volumes.regions)
        return {"validation": montage([volumes.images[:count, middle], truth, np.stack(found)])}

    def has_stopped_improving(self) -> bool:
        """Return whether `patience` scores on the validation part came after the best one; never if that is 0."""
        patience = self._config.segmentation.patience
        return bool(patience) and int(self._looks_since) >= patience

    def step(self, index: int, _rng: np.random.Generator) -> Losses:
        """Move the network by one batch; after every few steps measure Dice on the validation part too.

        The batch was made ahead, with a generator from the same seeds; the one that is given is not drawn from.
        """
        loss, self.gradient_norms = self._traced(*self._batches.at(index))
        return self._with_validation(index, loss)

    def shared_gradients(self, index: int, _rng: np.random.Generator) -> tuple[TensorLosses, SharedGradients]:
        """Return losses and gradients of one batch, made as for `step`, without moving the network.

        Dice, where it is due, is that of the network before the step.
        """
        loss, self.gradient_norms, gradients = self._traced_gradients(*self._batches.at(index))
        return self._with_validation(index, loss), gradients

    def list_batch(self, index: int) -> tuple[str, ...]:
        """Return the identities of the volumes that the step of this number learns from."""
        return self._batches.identities(index)

    def _with_validation(self, index: int, loss: tf.Tensor) -> TensorLosses:
        losses: TensorLosses = {"loss": loss}
        if (index + 1) % self._config.segmentation.validation_every == 0 or index + 1 == self._steps:
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
        """Measure Dice on the validation part and keep the weights if it is the best so far; return it."""
        score = mean_dice(self._predict, self._validation)
        self._looks_since.assign_add(1)
        if score > float(self._best_dice):
            self._best_dice.assign(score)
            self._looks_since.assign(0)
            self.best.set_weights(self.network.get_weights())
        return score


def _to_greys(mask: np.ndarray, by_region: bool) -> np.ndarray:
    """Return a mask as grey levels from -1 to 1; the last region, or the heart, is white."""
    return 2.0 * mask / (len(REGION_IDS) if by_region else 1) - 1.0
