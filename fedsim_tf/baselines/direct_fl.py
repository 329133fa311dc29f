"""Direct-FL: the segmentation network itself learnt over sites, whose gradients are averaged (section 3).

Each site's gradient is of one volume, so that a round of three sites has the effective batch of three that the other
arms of the comparison use.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from fedsim_tf.arms import DIRECT
from fedsim_tf.config import Config
from fedsim_tf.models import built
from fedsim_tf.models.initializers import begin_anew
from fedsim_tf.training.learner import named_variables
from fedsim_tf.training.protocols import SharedGradients, TensorLosses
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.volumes import SiteVolumes
from fedsim_tf.training.watch import Look

VOLUMES_A_SITE = 1


class SharedUNet:
    """One site's copy of the U-Net and the volumes that it learns from; what a federated `Site` wraps.

    Attributes:
      training: the network with its best state so far.
      data: the site's fold.
    """

    def __init__(self, config: Config, data: SiteVolumes):
        begin_anew(config.seed)  # the same network at every site and in every arm
        self.training, self.data, self.config = UNetTraining(config, data.validation), data, config

    @property
    def objects(self) -> dict[str, tf.Module]:
        """What a checkpoint holds of this site."""
        return self.training.objects

    @property
    def shared_variables(self) -> list[tf.Variable]:
        return self.training.network.trainable_variables

    @property
    def shared_names(self) -> list[str]:
        """A name for each shared variable, the same at every site."""
        return list(named_variables(unet=self.training.network))

    @property
    def count(self) -> int:
        """Annotated volumes that gradients come from."""
        return len(self.data.labelled)


class DirectFederated:
    """One site's side of the rounds: hands out the gradient of one annotated volume."""

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
        """Slices of the validation part; the rate is the server's."""
        return Look(pictures=self._training.validation_slices())

    def shared_gradients(self, index: int, rng: np.random.Generator) -> tuple[TensorLosses, SharedGradients]:
        """Return one volume's loss, and its gradients in the order of `SharedUNet.shared_variables`."""
        return self._training.shared_gradients(index, rng)


def initial_weights(config: Config) -> dict[str, np.ndarray]:
    """The U-Net's weights as every `SharedUNet` has them at first, by name: what a server without data begins with."""
    begin_anew(config.seed)
    return {name: variable.numpy() for name, variable in named_variables(unet=built.unet(config.model)).items()}
