"""Batches of volumes, made in the background while the network learns."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from fedsim_tf.training.augmentation import augment
from fedsim_tf.training.randomness import StepSeeds
from fedsim_tf.training.volumes import Volumes

_AHEAD = 2  # batches made before they are asked for

Batch = tuple[tf.Tensor, tf.Tensor]  # images float32, and labels float32 or region ids uint8, (B, z, y, x, 1)


class Batches:
    """The batches of a stage, each a function of the seeds and its step alone, so that a resumed run repeats them.

    Every volume is seen once before any is seen again, in another order in each epoch.

    Args:
      volumes: what to draw from, kept in memory.
      size: volumes a batch.
      seeds: what the generators of order and augmentation are made from.
      augment: whether volumes are changed at random; see `augmentation.augment`.
      by_region: whether labels are region ids, where the volumes have them.
    """

    def __init__(self, volumes: Volumes, *, size: int, seeds: StepSeeds, augment: bool, by_region: bool = False):
        self._volumes, self._size, self._seeds, self._augment = volumes, size, seeds, augment
        self._labels = choose_labels(volumes, by_region=by_region)
        self._order_seeds = dataclasses.replace(seeds, stage=f"{seeds.stage}/order")
        self._ahead: Iterator[Batch] | None = None
        self._next = 0

    def at(self, step: int) -> Batch:
        """Return the batch of a step; those of steps that follow one another are made ahead."""
        if self._ahead is None or step != self._next:
            self._ahead = iter(self._from(step))
        self._next = step + 1
        return next(self._ahead)

    def choose(self, step: int) -> list[int]:
        """Return the numbers of the volumes in the batch of a step."""
        places = range(step * self._size, (step + 1) * self._size)
        return [int(self._order(place // len(self._volumes))[place % len(self._volumes)]) for place in places]

    def identities(self, step: int) -> tuple[str, ...]:
        """Return the identities of the volumes in the batch of a step."""
        return tuple(self._volumes.identities[number] for number in self.choose(step))

    def _order(self, epoch: int) -> np.ndarray:
        return self._order_seeds.rng(epoch).permutation(len(self._volumes))

    def _from(self, step: int) -> tf.data.Dataset:
        """Return all batches from this step on, without end."""
        edges = self._volumes.images.shape[1:]

        def make(number: tf.Tensor) -> Batch:
            parts = tf.numpy_function(self._make, [number], [tf.float32, self._labels.dtype])
            images, labels = (tf.ensure_shape(part, (self._size, *edges, 1)) for part in parts)
            return images, labels

        # The range never ends within a run; a single worker keeps the order.
        return tf.data.Dataset.range(step, tf.int64.max).map(make).prefetch(_AHEAD).with_options(_untuned())

    def _make(self, step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        pairs = [(self._volumes.images[i], self._labels[i]) for i in self.choose(int(step))]
        if self._augment:
            rng = self._seeds.rng(int(step))
            pairs = [augment(image, label, rng) for image, label in pairs]
        images, labels = (np.stack(part)[..., None] for part in zip(*pairs, strict=True))
        return images, labels


def _untuned() -> tf.data.Options:
    """Return options without autotuning, which has nothing to tune here.

    Its thread sleeps for ever longer, up to a minute, and a process that ends waits until it has woken.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return options


def choose_labels(volumes: Volumes, *, by_region: bool) -> np.ndarray:
    """Return what a network learns from: region ids (uint8) where it tells regions apart and volumes have them.

    Else it is heart or not (float32), as at a site with binary labels.
    """
    return volumes.labels if volumes.regions is None or not by_region else volumes.regions
