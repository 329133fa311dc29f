"""Pictures of a run's samples beside their nearest real volumes, and of its segmentations of the test part."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.region_figures import region_panel
from fedsim_tf.regions import BACKGROUND, is_whole_heart
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
    areas = (label > BACKGROUND).reshape(len(label), -1).sum(axis=1)
    return int(np.argmax(areas)) if areas.any() else len(label) // 2


def nearest_image(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the image with the smallest squared distance over the whole CT, as in the paper's Figure 3.

    Args:
      image: (z, y, x).
      others: (n, z, y, x), the images to choose from.
    """
    return others[np.argmin([np.mean(np.square(other - image)) for other in others])]


def sample_gallery(
    path: pathlib.Path,
    samples: Sequence[SyntheticVolume],
    training: np.ndarray,
    *,
    title: str,
) -> None:
    """Draw samples with their labels and simulated CTs, beside the same slice of the nearest real volume.

    Args:
      path: the PNG to write.
      samples: synthetic volumes; the first few are drawn. Where labels tell regions apart, these are in colours.
      training: real images (n, z, y, x) in [-1, 1] that the samples' networks have learnt from.
      title: above everything; says which cohort this is.
    """
    rows: list[list] = []
    by_region = any(not is_whole_heart(sample.label) for sample in samples)
    for sample in samples[:ROWS]:
        k = heart_slice(sample.label)
        coarse = resize_volume(sample.coarse[None], len(sample.label))[0].numpy()
        neighbour = nearest_image(sample.image, training)
        if by_region:
            black, image, ids = np.full(sample.image[k].shape, -1.0), sample.image[k], sample.label[k]
            rows.append([(coarse[k], None), (black, ids), (image, None), (image, ids), (neighbour[k], None)])
            continue
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
    (region_panel if by_region else panel)(path, rows, columns=columns, title=title)


def segmentation_gallery(path: pathlib.Path, segmenters: Mapping[str, Segmenter], test: Volumes, *, title: str) -> None:
    """Draw test volumes with the true outline in green and each arm's in red.

    Where volumes have regions, these are in colours, the true ones in a column of their own.

    Args:
      path: the PNG to write.
      segmenters: networks by arm, which give region ids where volumes have regions.
      test: the volumes; the first few are drawn.
      title: above everything; says which cohort this is. What the colours mean is added.
    """
    if test.regions is not None:
        _region_gallery(path, segmenters, test.images[:ROWS], test.regions[:ROWS], title=title)
        return
    rows = []
    for image, label in list(zip(test.images, test.labels, strict=True))[:ROWS]:
        k = heart_slice(label)
        found = [segment(image) for segment in segmenters.values()]
        rows.append([(image[k], None, None), *((image[k], label[k], mask[k]) for mask in found)])
    panel(path, rows, columns=("test volume", *segmenters), title=f"{title}: truth green, found red")


def _region_gallery(
    path: pathlib.Path, segmenters: Mapping[str, Segmenter], images: np.ndarray, truths: np.ndarray, *, title: str
) -> None:
    rows = []
    for image, truth in zip(images, truths, strict=True):
        k = heart_slice(truth)
        found = [segment(image) for segment in segmenters.values()]
        rows.append([(image[k], None), (image[k], truth[k]), *((image[k], mask[k]) for mask in found)])
    region_panel(path, rows, columns=("test volume", "truth", *segmenters), title=f"{title}: regions in colours")
