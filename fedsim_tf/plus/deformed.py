"""Annotated volumes with their hearts changed: image, label and simulated CT deformed alike."""

from __future__ import annotations

import dataclasses

import numpy as np

from fedsim_tf.plus.wider_shapes import WiderShapes, find_deformation, warp_image
from fedsim_tf.shape.volume_warp import VolumeWarp
from fedsim_tf.training.annotated_labels import AnnotatedLabels
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.pretraining import simulate_fitted
from fedsim_tf.training.volumes import Volumes


@dataclasses.dataclass(frozen=True, eq=False)
class DeformedVolumes:
    """Annotated volumes, each as it is and in several deformed copies.

    Attributes:
      volumes: images and labels; their identities are those of the originals.
      simulated: (n, c, c, c), the simulated CT of each fitted latent, deformed as the volume is.
      semantic_labels: (n, z, y, x), heart or not, or region ids of all, as the enhancement network is shown them.
    """

    volumes: Volumes
    simulated: np.ndarray
    semantic_labels: np.ndarray


def deform_annotated(learner: SiteLearner, shapes: WiderShapes, *, copies: int) -> DeformedVolumes:
    """Return the annotated volumes of a site and `copies` deformed copies of each.

    Args:
      learner: the site's state; it gives the shapes and simulated CTs that were fitted to the volumes.
      shapes: changes the hearts.
      copies: deformed copies of each volume; none is made of hearts that stay as they are.
    """
    labelled = learner.data.labelled
    labels = AnnotatedLabels(labelled, by_region=learner.config.model.by_region)
    labels.divide_whole_hearts(learner)
    fitted = learner.model.shape_generator(learner.labelled_latents.table).numpy()
    simulated = simulate_fitted(learner)
    made: dict[str, list[np.ndarray]] = {"images": [], "labels": [], "regions": [], "simulated": [], "semantic": []}
    identities = []
    for number, identity in enumerate(labelled.identities):
        rng, tau = learner.rng(f"plus/deformed/{number}"), fitted[number]
        for copy in range(copies + 1):
            changed = shapes.change(tau, rng.standard_normal(len(tau))) if copy else tau
            deformation = find_deformation(learner.model.decoder, tau, changed)
            if copy and deformation is None:
                break
            identities.append(identity)
            made["images"].append(warp_image(labelled.images[number], deformation))
            made["labels"].append(_warp_mask(labelled.labels[number], deformation))
            made["simulated"].append(warp_image(simulated[number], deformation))
            made["semantic"].append(_warp_label(labels.number(number), deformation))
            if labelled.regions is not None:
                made["regions"].append(_warp_label(labelled.regions[number], deformation))
    stacked = {name: np.stack(arrays) for name, arrays in made.items() if arrays}
    volumes = Volumes(tuple(identities), stacked["images"], stacked["labels"], stacked.get("regions"))
    return DeformedVolumes(volumes, stacked["simulated"], stacked["semantic"])


def _warp_mask(mask: np.ndarray, deformation: VolumeWarp | None) -> np.ndarray:
    return (warp_image(mask, deformation) > 0.5).astype(mask.dtype)


def _warp_label(label: np.ndarray, deformation: VolumeWarp | None) -> np.ndarray:
    """Return heart or not, or region ids, after a deformation."""
    if label.dtype != np.uint8:
        return _warp_mask(label, deformation)
    return label if deformation is None else deformation.warp(label, nearest=True)
