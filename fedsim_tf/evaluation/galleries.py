"""Pictures of a run's samples beside their nearest real volumes, and of its segmentations of the test part."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.planes import PLANE_NAMES, cut_planes
from fedsim_tf.evaluation.region_figures import region_panel
from fedsim_tf.regions import BACKGROUND, is_whole_heart
from fedsim_tf.resize import resize_volume
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import Volumes

ROWS = 6
_SAMPLE_COLUMNS = (
    *("simulated CT", "label", "synthetic CT", "with label", *PLANE_NAMES[1:]),
    *("nearest real", *PLANE_NAMES[1:]),
)


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
    """Draw samples in three planes with their labels and simulated CTs, beside the nearest real volume's planes.

    Args:
      path: the PNG to write.
      samples: synthetic volumes; the first few are drawn. Where labels tell regions apart, these are in colours.
      training: real images (n, z, y, x) in [-1, 1] that the samples' networks have learnt from.
      title: above everything; says which cohort this is.
    """
    by_region = any(not is_whole_heart(sample.label) for sample in samples)
    rows = [_sample_row(sample, training, by_region=by_region) for sample in samples[:ROWS]]
    (region_panel if by_region else panel)(path, rows, columns=_SAMPLE_COLUMNS, title=title)


def _sample_row(sample: SyntheticVolume, training: np.ndarray, *, by_region: bool) -> list[tuple]:
    """Return the cells of one sample: each an image and what is outlined or coloured in it."""
    centre = [heart_slice(np.moveaxis(sample.label, axis, 0)) for axis in range(3)]
    k = centre[0]
    coarse = resize_volume(sample.coarse[None], len(sample.label))[0].numpy()
    synthetic, labels = cut_planes(sample.image, centre), cut_planes(sample.label, centre)
    nearest = cut_planes(nearest_image(sample.image, training), centre)
    cells: list[tuple[np.ndarray, np.ndarray | None]] = [(coarse[k], None)]
    cells.append((np.full_like(coarse[k], -1.0), labels[0]) if by_region else (labels[0] * 2.0 - 1.0, None))
    cells += [(synthetic[0], None), *zip(synthetic, labels, strict=True), *((plane, None) for plane in nearest)]
    return cells if by_region else [(plane, label, None) for plane, label in cells]


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
    panel(path, rows, columns=("test volume", *map(arms.title, segmenters)), title=f"{title}: truth green, found red")


def _region_gallery(
    path: pathlib.Path, segmenters: Mapping[str, Segmenter], images: np.ndarray, truths: np.ndarray, *, title: str
) -> None:
    rows = []
    for image, truth in zip(images, truths, strict=True):
        k = heart_slice(truth)
        found = [segment(image) for segment in segmenters.values()]
        rows.append([(image[k], None), (image[k], truth[k]), *((image[k], mask[k]) for mask in found)])
    region_panel(
        path, rows, columns=("test volume", "truth", *map(arms.title, segmenters)), title=f"{title}: regions in colours"
    )
