"""Write what TensorBoard shows of a stage: losses and gradient norms of every step; the rest at checkpoints."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from fedsim_tf.models.spectral_norm import SpectralConv2D


class Look(NamedTuple):
    """What a stage has to show at a checkpoint."""

    scalars: Mapping[str, float] = {}
    pictures: Mapping[str, np.ndarray] = {}  # (y, x), 0 to 1
    histograms: Mapping[str, np.ndarray] = {}

    def __or__(self, other: Look) -> Look:
        return Look(
            {**self.scalars, **other.scalars},
            {**self.pictures, **other.pictures},
            {**self.histograms, **other.histograms},
        )


class Watched(Protocol):
    """A stage that has more to show than its losses."""

    @property
    def gradient_norms(self) -> Mapping[str, Any]:
        """The norm of each network's gradients in the last step, by the network's name."""

    def look(self) -> Look:
        """Return what the present state shows; changes nothing and draws no random numbers."""


class Board:
    """A stage's events for TensorBoard, held back until a checkpoint makes the steps they belong to last."""

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._scalars: list[tuple[int, Mapping[str, float]]] = []

    @functools.cached_property
    def _writer(self) -> tf.summary.SummaryWriter:
        return tf.summary.create_file_writer(str(self._folder))  # which makes a file at once

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Hold back the scalars of a step."""
        self._scalars.append((step, values))

    def write(self, step: int, look: Look) -> None:
        """Write what was held back, and the look at this step."""
        with self._writer.as_default():
            for at, scalars in [*self._scalars, (step, look.scalars)]:
                _write_scalars(scalars, at)
            for key, picture in look.pictures.items():
                tf.summary.image(key, picture[None, ..., None], step=step)
            for key, values in look.histograms.items():
                tf.summary.histogram(key, values, step=step)
        self._writer.flush()
        self._scalars = []


def _write_scalars(values: Mapping[str, float], step: int) -> None:
    """Write scalars of one step in one piece, in a quarter of the time of as many calls of `tf.summary.scalar`."""
    summary = Summary(value=[one for key, value in values.items() for one in scalar_pb(key, value).value])
    tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step=step)


def norms(**gradients: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the Euclidean norm over all of each network's gradients."""
    return {name: tf.linalg.global_norm(parts) for name, parts in gradients.items()}


def rates(**optimizers: tf.keras.optimizers.Optimizer) -> dict[str, float]:
    """Return the learning rates at the optimizers' last steps, as scalars for TensorBoard."""
    return {f"rate/{name}": float(optimizer.learning_rate) for name, optimizer in optimizers.items()}


def spectral_norms(**networks: tf.Module) -> dict[str, float]:
    """Return the largest sigma(W) among each network's spectrally normalised layers; see `spectral_norm`."""
    found = {}
    for name, network in networks.items():
        layers = [layer for layer in network.submodules if isinstance(layer, SpectralConv2D)]
        if layers:
            found[f"spectral_norm/{name}"] = max(spectral_norm(layer) for layer in layers)
    return found


def spectral_norm(layer: SpectralConv2D) -> float:
    """Return an estimate of sigma(W) of the kernel before it is normalised.

    It comes from the layer's own power iteration and one round more and never exceeds the true value; a decomposition
    of the widest kernels would take minutes.
    """
    kernel = layer.kernel.numpy().astype(np.float64)
    matrix = kernel.reshape(-1, kernel.shape[-1])
    v = matrix @ layer.u.numpy().astype(np.float64).ravel()
    return float(np.linalg.norm(matrix.T @ (v / np.linalg.norm(v))))


def montage(columns: Sequence[np.ndarray]) -> np.ndarray:
    """Return slices side by side as one picture, with one row for each volume.

    Args:
      columns: each (rows, y, x) in [-1, 1]; values beyond are clipped.

    Returns:
      (rows * y, columns * x) float32, 0 to 1.
    """
    rows = np.concatenate([np.asarray(column, np.float32) for column in columns], axis=2)
    return np.clip(rows.reshape(-1, rows.shape[2]) * 0.5 + 0.5, 0.0, 1.0)
