"""Direct-FL: the sites learn the segmentation network itself, by averaging its gradients (section 3).

Each site takes the gradient of one volume. A round of three sites then has the effective batch of three that the other
arms of the comparison use.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import DIRECT
from fedsim_tf.config import Config
from fedsim_tf.models import built
from fedsim_tf.training.learner import named_variables
from fedsim_tf.training.protocols import SharedGradients, TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.volumes import SiteVolumes
from fedsim_tf.training.watch import Look

VOLUMES_A_SITE = 1


class SharedUNet:
    """One site's copy of the U-Net and the volumes that it learns from, for a federated `Site`.

    Attributes:
      training: the network with its best state so far.
      data: the volumes of the site's fold.
      config: the run's configuration.
    """

    def __init__(self, config: Config, data: SiteVolumes):
        self.training, self.data, self.config = UNetTraining(config, data.validation), data, config

    @property
    def objects(self) -> dict[str, tf.Module]:
        """The objects of this site that a checkpoint holds, by name."""
        return self.training.objects

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """The variables that sites learn together."""
        return self.training.network.trainable_variables

    @property
    def shared_names(self) -> list[str]:
        """The name of each shared variable, equal at every site."""
        return list(named_variables(unet=self.training.network))

    @property
    def count(self) -> int:
        """The number of annotated volumes that gradients come from."""
        return len(self.data.labelled)


class DirectFederated:
    """The stage of one site in the rounds of Direct-FL: each step gives the gradient of one annotated volume."""

    name = f"segmentation/{DIRECT}/pretrain"

    def __init__(self, learner: SharedUNet):
        settings = learner.config.segmentation
        self.learner = learner
        self._training = learner.training
        self._training.begin(
            learner.data.labelled,
            rate=settings.rate,
            steps=settings.pretraining_steps,
            stage=f"pretrain/{learner.data.name}",
            name=self.name,
            secret=learner.data.secret,
            batch=VOLUMES_A_SITE,
        )

    @property
    def objects(self) -> dict[str, tf.Module]:
        return self._training.objects

    @property
    def seeds(self) -> StepSeeds:
        return self._training.seeds

    @property
    def gradient_norms(self) -> TensorLosses:
        return self._training.gradient_norms

    def look(self) -> Look:
        """Return slices of the validation part; the learning rate is the server's."""
        return Look(pictures=self._training.validation_slices())

    def shared_gradients(self, index: int, rng: np.random.Generator) -> tuple[TensorLosses, SharedGradients]:
        """Return one volume's loss, and its gradients in the order of `SharedUNet.shared_variables`."""
        return self._training.shared_gradients(index, rng)

    def list_batch(self, index: int) -> tuple[str, ...]:
        """Return the identity of the volume that the step of this number learns from."""
        return self._training.list_batch(index)


def initial_weights(config: Config) -> dict[str, np.ndarray]:
    """Return the weights, by name, that the U-Net of every site and of a server without data starts from."""
    network = built.unet(config.model, seed=config.seed)
    return {name: variable.numpy() for name, variable in named_variables(unet=network).items()}
