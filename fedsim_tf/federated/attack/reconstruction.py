"""What recovered latents show of patients: labels and coarse CTs, and how near these come to the true ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from scipy import optimize
from skimage.metrics import structural_similarity

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays
from fedsim_tf.metrics import dice
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.synthesis import GenerativeModel, downsample
from fedsim_tf.training.learner import named_variables
from fedsim_tf.training.volumes import SiteVolumes


class Reconstruction(NamedTuple):
    """What the shared networks and the simulated scanner make of n latents."""

    labels: np.ndarray  # (n, z, y, x) uint8: heart or not, or region ids
    coarse: np.ndarray  # (n, c, c, c), the simulated CT, clipped to [-1, 1]


@dataclasses.dataclass(frozen=True, eq=False)
class KnownPatients:
    """What a site knows of the volumes that it learns from, with which reconstructions are compared.

    Attributes:
      identities: of n volumes, annotated or not.
      coarse: their CTs (n, c, c, c), in [-1, 1].
      hearts: true masks (z, y, x) by identity, as far as the site has them.
      mean_heart: mask (z, y, x) of the shape model's mean, which is no secret.
    """

    identities: Sequence[str]
    coarse: np.ndarray
    hearts: Mapping[str, np.ndarray]
    mean_heart: np.ndarray

    @classmethod
    def at_site(cls, data: SiteVolumes, model: GenerativeModel) -> KnownPatients:
        """Return what a site knows of the training part of a fold."""
        mean = model.decoder(tf.zeros((1, model.decoder.ssm.n_modes + N_POSE)))
        return cls(
            identities=(*data.labelled.identities, *data.unlabelled.identities),
            coarse=downsample(data.training_images, model.coarse_size),
            hearts=dict(zip(data.fully_labelled.identities, data.fully_labelled.labels, strict=True)),
            mean_heart=model.hard_label(mean)[0].numpy() > 0,
        )

    def mean_of_others(self, number: int) -> np.ndarray:
        """Return the mean CT (c, c, c) of all volumes but one."""
        others = np.delete(self.coarse, number, axis=0)
        return others.mean(axis=0) if len(others) else np.zeros_like(self.coarse[0])


class Finding(NamedTuple):
    """How near a reconstruction comes to the patient that it is of.

    Attributes:
      identity: the patient's volume.
      number: its place among the site's known ones.
      found: the place of its reconstruction among all of the round.
      correlation: of the reconstructed coarse CT with the patient's, over all voxels.
      correlation_of_mean: that of the mean of the site's other volumes, for comparison.
      rank: the place of this patient among all of the site's by correlation with the reconstruction; 1: it tells who
        this is.
      leakage: see `measure_leakage`; the prior is the mean of the site's other volumes.
      dice: of the reconstructed heart with the true one, in percent; None where there is no true one.
      dice_of_mean: that of the shape model's mean, for comparison.
    """

    identity: str
    number: int
    found: int
    correlation: float
    correlation_of_mean: float
    rank: int
    leakage: float
    dice: float | None
    dice_of_mean: float | None


def load_shared_weights(model: GenerativeModel, weights: Arrays) -> None:
    """Give a generative model the weights that the server has sent.

    Raises:
      InputError: they are not those of such a model's shared networks.
    """
    assign_weights(named_variables(shape=model.shape_generator, material=model.material_generator), weights)


def assign_weights(variables: Mapping[str, tf.Variable], weights: Arrays) -> None:
    """Give variables, by name, the weights that the server has sent.

    Raises:
      InputError: the weights have other names or shapes.
    """
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: value.shape for name, value in weights.items()}
    if found != shapes:
        differing = sorted({name for name, _ in found.items() ^ shapes.items()})
        raise InputError("shared weights", found=f"others: {differing[0]}", expected="those of this configuration")
    for name, variable in variables.items():
        variable.assign(weights[name])


def reconstruct_patients(model: GenerativeModel, latents: np.ndarray) -> Reconstruction:
    """Return the labels and coarse CTs of latents (n, d)."""
    z = tf.constant(latents, tf.float32)
    return Reconstruction(model.hard_label(model.labels(z)).numpy(), np.clip(model.coarse_ct(z).numpy(), -1.0, 1.0))


def compare_with_patients(reconstruction: Reconstruction, batch: Sequence[str], known: KnownPatients) -> list[Finding]:
    """Pair reconstructions with the volumes of the round's batch, and measure how near they come.

    A round does not say which reconstruction is whose: the pairs are those with the largest sum of correlations.

    Args:
      reconstruction: of the latents that were recovered.
      batch: identities of the volumes that the round's gradients come from.
      known: the volumes of the site, those of the batch among them.

    Returns:
      One finding for each reconstruction, in the order of the batch.
    """
    numbers = [list(known.identities).index(identity) for identity in batch]
    every = np.array([[correlate(one, other) for other in known.coarse] for one in reconstruction.coarse])
    pairs = zip(*optimize.linear_sum_assignment(every[:, numbers], maximize=True), strict=True)
    return [
        _measure(reconstruction, int(found), numbers[place], every[found], known)
        for found, place in sorted(pairs, key=lambda pair: pair[1])
    ]


def correlate(first: np.ndarray, second: np.ndarray) -> float:
    """Return Pearson's correlation of two arrays of one shape; 0 where one of them is constant."""
    first, second = (array.astype(np.float64) - np.mean(array, dtype=np.float64) for array in (first, second))
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.vdot(first, second)) / norms if norms else 0.0


def measure_leakage(found: np.ndarray, true: np.ndarray, *, prior: np.ndarray) -> float:
    """Return the relative data leakage value (Hatamizadeh et al., IEEE TMI 2023) of a reconstructed volume.

    That is by how much of the prior's own likeness to the patient the reconstruction is more like the patient: 0 where
    it tells nothing that the prior does not, negative where it tells less. Likeness is structural similarity.

    Args:
      found: the reconstruction (z, y, x), in [-1, 1]; of at least seven voxels along each edge.
      true: the patient's volume.
      prior: what anybody could have guessed.
    """
    of_found, of_prior = (structural_similarity(true, other, data_range=2.0) for other in (found, prior))
    return float((of_found - of_prior) / of_prior)


def _measure(
    reconstruction: Reconstruction, found: int, number: int, correlations: np.ndarray, known: KnownPatients
) -> Finding:
    identity, true, guessed = known.identities[number], known.coarse[number], known.mean_of_others(number)
    heart = known.hearts.get(identity)
    return Finding(
        identity=identity,
        number=number,
        found=found,
        correlation=float(correlations[number]),
        correlation_of_mean=correlate(guessed, true),
        rank=1 + int(np.sum(correlations > correlations[number])),
        leakage=measure_leakage(reconstruction.coarse[found], true, prior=guessed),
        dice=None if heart is None else dice(reconstruction.labels[found] > 0, heart),
        dice_of_mean=None if heart is None else dice(known.mean_heart, heart),
    )
