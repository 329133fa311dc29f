"""What a run shows of its work: samples beside real neighbours, and segmentations of test volumes."""

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
    """The slice in which the heart is largest; the middle one where there is no heart."""
    areas = label.reshape(len(label), -1).sum(axis=1)
    return int(np.argmax(areas)) if areas.any() else len(label) // 2


def nearest(image: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Of images (n, z, y, x) that with the smallest squared distance over the whole CT (the paper's Figure 3)."""
    return others[np.argmin([np.mean(np.square(other - image)) for other in others])]


def sample_gallery(path: pathlib.Path, samples: Sequence[SyntheticVolume], training: np.ndarray, *, title: str) -> None:
    """Samples, their labels and simulated CTs, beside the same slice of the nearest of the training images."""
    rows = []
    for sample in samples[:ROWS]:
        k = heart_slice(sample.label)
        coarse = resize_volume(sample.coarse[None], len(sample.label))[0].numpy()
        neighbour = nearest(sample.image, training)
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
    """Test volumes with the true outline (green) and each arm's (red)."""
    rows = []
    for image, label in list(zip(test.images, test.labels, strict=True))[:ROWS]:
        k = heart_slice(label)
        found = [segment(image) for segment in segmenters.values()]
        rows.append([(image[k], None, None), *((image[k], label[k], mask[k]) for mask in found)])
    panel(path, rows, columns=("test volume", *segmenters), title=title)
