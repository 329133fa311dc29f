"""The labels of a site's annotated volumes, as L_IoU and the enhancement network take them.

Where labels tell regions apart, some files may still hold the heart as a whole, which is region 1 alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf
from scipy import ndimage

from fedsim_tf.losses import UNION_WEIGHT, iou_loss
from fedsim_tf.regions import is_whole_heart
from fedsim_tf.shape.voxelize import separate_regions, to_label_map
from fedsim_tf.synthesis import take_slices

if TYPE_CHECKING:
    from fedsim_tf.training.learner import SiteLearner
    from fedsim_tf.training.volumes import Volumes


class AnnotatedLabels:
    """The labels of a site's annotated volumes.

    By region they are kept as ids of one byte; masks of the regions are made for the volumes of a batch alone.

    Args:
      volumes: the annotated volumes.
      by_region: whether labels tell regions apart.
    """

    def __init__(self, volumes: Volumes, *, by_region: bool):
        self._by_region = by_region
        self._labels = tf.constant(get_region_ids(volumes) if by_region else volumes.labels)
        self._whole = are_whole_hearts(self._labels.numpy()) if by_region else np.zeros(len(volumes), bool)
        self._union_weights = tf.constant(np.where(self._whole, 1.0, UNION_WEIGHT), tf.float32)

    def iou_loss(self, found: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Return L_IoU of occupancies, of hearts as a whole that of the union.

        Args:
          found: (B, z, y, x), or by region (B, z, y, x, 7).
          batch: the numbers (B,) of the volumes that they are to be.
        """
        labels = tf.gather(self._labels, batch)
        if not self._by_region or self._whole.all():
            return iou_loss(found, labels)
        return iou_loss(found, separate_regions(labels), union_weight=tf.gather(self._union_weights, batch))

    def slices(self, batch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        """Return the label slices `index` (B,) of volumes `batch` (B,): (B, y, x), or by region (B, y, x, 7)."""
        found = take_slices(tf.gather(self._labels, batch), index)
        return separate_regions(found) if self._by_region else found

    def number(self, number: int) -> np.ndarray:
        """Return the label (z, y, x) of one volume: heart or not, or region ids."""
        return self._labels[number].numpy()

    def divide_whole_hearts(self, learner: SiteLearner) -> None:
        """Give hearts as a whole the regions of the shapes that the latents stand for now, within their masks.

        The enhancement network is shown regions everywhere. L_IoU goes on to compare such hearts as a whole.
        """
        if not self._whole.any():
            return
        labels, spacing_mm = self._labels.numpy(), learner.model.decoder.grid.spacing_mm[::-1]
        for number in np.flatnonzero(self._whole):
            fitted = to_label_map(learner.model.labels(learner.labelled_latents.table[number : number + 1]))[0]
            labels[number] = divide_mask(labels[number] > 0, fitted.numpy(), spacing_mm)
        self._labels = tf.constant(labels)


def get_region_ids(volumes: Volumes) -> np.ndarray:
    """Return the region ids uint8 of volumes; hearts as a whole are region 1."""
    return volumes.labels.astype(np.uint8) if volumes.regions is None else volumes.regions


def are_whole_hearts(regions: np.ndarray) -> np.ndarray:
    """Return for each label (n, z, y, x) of region ids whether it is a heart as a whole, region 1 alone."""
    return np.array([is_whole_heart(label) for label in regions], bool)


def divide_mask(mask: np.ndarray, regions: np.ndarray, spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return a heart's mask (z, y, x) with, in each voxel, the region of the nearest voxel of a label map.

    Without any region there it is region 1.

    Args:
      mask: where the heart is.
      regions: region ids (z, y, x) of a heart that lies about there.
      spacing_mm: voxel size (z, y, x).
    """
    if not regions.any():
        return mask.astype(np.uint8)
    nearest = ndimage.distance_transform_edt(regions == 0, spacing_mm, return_distances=False, return_indices=True)
    return np.where(mask, regions[tuple(nearest)], 0).astype(np.uint8)
