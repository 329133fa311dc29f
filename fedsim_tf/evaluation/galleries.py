"""Pictures of a run's samples beside their nearest real volumes, and of its segmentations of the test part."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.evaluation.figures import panel
from fedsim_tf.resize import resize_volume
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes

ROWS = 6


def heart_slice(label: np.ndarray) -> int:
    """Return the index of the slice in which the heart is largest; the middle one where there is no heart.

    Args:
      label: (z, y, x), heart where positive.
    """
    areas = label.reshape(len(label), -1).sum(axis=1)
    return int(np.argmax(areas)) if areas.any() else len(label) // 2


def nearest_image(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the image with the smallest squared distance over the whole CT, as in the paper's Figure 3.

    Args:
      image: (z, y, x).
      others: (n, z, y, x), the images to choose from.
    """
    return others[np.argmin([np.mean(np.square(other - image)) for other in others])]


def sample_gallery(path: pathlib.Path, samples: Sequence[SyntheticVolume], training: np.ndarray, *, title: str) -> None:
    """Draw samples with their labels and simulated CTs, beside the same slice of the nearest real volume.

    Args:
      path: the PNG to write.
      samples: synthetic volumes; the first few are drawn.
      training: real images (n, z, y, x) in [-1, 1] that the samples' networks have learnt from.
      title: above everything; says which cohort this is.
    """
    rows = []
    for sample in samples[:ROWS]:
        k = heart_slice(sample.label)
        coarse = resize_volume(sample.coarse[None], len(sample.label))[0].numpy()
        neighbour = nearest_image(sample.image, training)
        rows.append(
            [
                (coarse[k], None, None),
                (sample.label[k] * 2.0 - 1.0, None, None),
                (sample.image[k], None, None),
                (sample.image[k], sample.label[k], None),
                (neighbour[k], None, None),
            ]
        )
    columns = ("simulated CT", "label", "synthetic CT", "with label", "nearest real")
    panel(path, rows, columns=columns, title=title)


def segmentation_gallery(path: pathlib.Path, segmenters: Mapping[str, Segmenter], test: Volumes, *, title: str) -> None:
    """Draw test volumes with the true outline in green and each arm's in red.

    Args:
      path: the PNG to write.
      segmenters: networks by arm.
      test: the volumes; the first few are drawn.
      title: above everything; says which cohort this is.
    """
    rows = []
    for image, label in list(zip(test.images, test.labels, strict=True))[:ROWS]:
        k = heart_slice(label)
        found = [segment(image) for segment in segmenters.values()]
        rows.append([(image[k], None, None), *((image[k], label[k], mask[k]) for mask in found)])
    panel(path, rows, columns=("test volume", *segmenters), title=title)
