"""Hold what one site learns: its generative model, discriminator and latents."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from fedsim_tf.config import Config
from fedsim_tf.models import built
from fedsim_tf.models.latents import LatentStatistics, LatentTable
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.synthesis import GenerativeModel, shared_networks
from fedsim_tf.training.plausibility import warn_of_unreachable_sizes
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.volumes import SiteVolumes
from fedsim_tf.training.watch import norms


class SiteLearner:
    """All networks and latents of one site, with the data that they learn from.

    Attributes:
      model: shape, material and enhancement networks with their physics.
      discriminator: tells real slices of this site from enhanced ones.
      labelled_latents, unlabelled_latents: one latent for each annotated and each unannotated training volume (GLO).
      vgg: fixed features for the perceptual losses; not part of checkpoints.
    """

    def __init__(self, config: Config, ssm: StatisticalShapeModel, data: SiteVolumes, vgg: VGG19Features):
        self.config, self.data, self.vgg = config, data, vgg
        self.model = GenerativeModel(config, ssm, data.field_of_view_mm)
        mean = self.model.decoder(tf.zeros((1, ssm.n_modes + N_POSE)))
        mean_voxels = float(tf.reduce_sum(mean))
        warn_of_unreachable_sizes(data.name, data.labelled.identities, data.labelled.labels, mean_voxels)
        self.discriminator = built.discriminator(config.model, seed=config.seed)
        length = config.model.latent
        self.labelled_latents = LatentTable(len(data.labelled), length, seed=self.rng("latents/labelled"))
        self.unlabelled_latents = LatentTable(len(data.unlabelled), length, seed=self.rng("latents/unlabelled"))

    def seeds(self, purpose: str) -> StepSeeds:
        """Return the seeds of a stage or another purpose, different at every site."""
        return StepSeeds(self.config.seed, f"{purpose}/{self.data.name}", self.data.secret)

    def rng(self, purpose: str) -> np.random.Generator:
        """Return a generator for random choices that are made once, such as the first latents."""
        return self.seeds(purpose).rng(0)

    @property
    def objects(self) -> dict[str, tf.Module]:
        """Return what a checkpoint holds of this site, by name."""
        return {
            "model": self.model,
            "discriminator": self.discriminator,
            "labelled_latents": self.labelled_latents,
            "unlabelled_latents": self.unlabelled_latents,
        }

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """The weights of the shape and material networks (theta_S, theta_M)."""
        return self.model.shared_variables

    @property
    def shared_names(self) -> list[str]:
        """A name for each shared variable, the same at every site."""
        return list(named_variables(shape=self.model.shape_generator, material=self.model.material_generator))

    @property
    def count(self) -> int:
        """The number of annotated volumes that gradients come from."""
        return len(self.data.labelled)

    def shared_norms(self, gradients: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return the norms of the gradients of theta_S and of theta_M, given in the order of `shared_variables`."""
        count = len(self.model.shape_generator.trainable_variables)
        return norms(shape=gradients[:count], material=gradients[count:])

    def scale_shared(self, gradients: Sequence[tf.Tensor], *, shape: tf.Tensor, material: tf.Tensor) -> list[tf.Tensor]:
        """Return gradients, in the order of `shared_variables`, times a factor for theta_S and one for theta_M."""
        count = len(self.model.shape_generator.trainable_variables)
        return [gradient * (shape if i < count else material) for i, gradient in enumerate(gradients)]

    def latent_statistics(self, *, with_unlabelled: bool, largest_norm: float = 0.0) -> LatentStatistics:
        """Return count, sum and sum of outer products of this site's latents: all that sampling needs of them.

        Args:
          with_unlabelled: whether latents of unannotated volumes are included.
          largest_norm: latents that are longer are scaled down to this length first; 0: none is.
        """
        tables = [self.labelled_latents.table]
        if with_unlabelled and len(self.data.unlabelled):
            tables.append(self.unlabelled_latents.table)
        found = [LatentStatistics.of(table.numpy(), largest_norm=largest_norm) for table in tables]
        return functools.reduce(operator.add, found)


def initial_shared_weights(config: Config) -> dict[str, np.ndarray]:
    """Return theta_S and theta_M by name as every `SiteLearner` has them at first, for a server without data."""
    shape, material = shared_networks(config.model, n_modes=config.model.shape_modes, seed=config.seed)
    return {name: v.numpy() for name, v in named_variables(shape=shape, material=material).items()}


def named_variables(**networks: tf.keras.Model) -> dict[str, tf.Variable]:
    """Return networks' trainable variables by names that are the same in every process, such as "shape/0"."""
    return {f"{key}/{i}": v for key, network in networks.items() for i, v in enumerate(network.trainable_variables)}
