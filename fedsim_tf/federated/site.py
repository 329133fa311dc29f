"""A site: keeps its data, latents, enhancement network and discriminator; lets out `SiteUpdate`s."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.semi_supervised import SemiSupervised

SharedStage = GeneratorPretraining | SemiSupervised


def weight_names(learner: SiteLearner) -> list[str]:
    """A name for each shared variable, the same at every site."""
    shape = len(learner.model.shape_generator.trainable_variables)
    material = len(learner.shared_variables) - shape
    return [f"shape/{i}" for i in range(shape)] + [f"material/{i}" for i in range(material)]


class Site:
    """One hospital in a federated run.

    Attributes:
      name: the site's name.
      learner: its state; stays here.
      last_losses: of its last step, for the site's own log; not part of an update.
    """

    def __init__(self, name: str, learner: SiteLearner):
        self.name, self.learner = name, learner
        self.last_losses: dict[str, float] = {}
        self._names = weight_names(learner)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds of this site, under names of its own."""
        return self._named(self.learner.objects)

    def stage_objects(self, stage: SharedStage) -> dict[str, tf.Module]:
        """The same together with a stage's optimizers."""
        return self._named(stage.objects)

    def _named(self, objects: dict[str, tf.Module]) -> dict[str, tf.Module]:
        return {f"{self.name}_{key}": value for key, value in objects.items()}

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The site's copy of the shared weights."""
        return {name: v.numpy() for name, v in zip(self._names, self.learner.shared_variables, strict=True)}

    def receive(self, weights: Arrays) -> None:
        """Takes over the broadcast weights.

        Raises:
          InputError: names that are not those of the shared networks.
        """
        if list(weights) != self._names:
            raise InputError(f"weights for {self.name}", found=sorted(weights), expected=sorted(self._names))
        for name, variable in zip(self._names, self.learner.shared_variables, strict=True):
            variable.assign(weights[name])

    def update(self, stage: SharedStage, round_number: int) -> SiteUpdate:
        """One step on this site's data: moves what is local and returns the gradients of what is shared."""
        losses, gradients = stage.shared_gradients(round_number)
        self.last_losses = {key: float(value) for key, value in losses.items()}
        named = {name: gradient.numpy() for name, gradient in zip(self._names, gradients, strict=True)}
        return SiteUpdate(self.name, round_number, len(self.learner.data.labelled), named)
