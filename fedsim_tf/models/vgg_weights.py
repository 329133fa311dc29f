"""Files of VGG-19 weights, read and checked without TensorFlow."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import h5py
import numpy as np

from fedsim_tf.config import VGG_WORDS
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_file

CHOICES = "'imagenet' (downloaded by Keras), a path to .h5 or .npz weights, or 'random'"
# Of random features, level by level. Each level's differences between CT slices are then as large as ImageNet's, and so
# are the losses made of them. Without it VGG loss and feature matching begin at 1 : 2 instead of 2 : 1. They were
# measured for seed 0, which all runs have (docs/method.md); other seeds' differences vary by a quarter.
RANDOM_GAINS = (0.85, 7.1, 9.1, 40.7, 9.1)
RANDOM_VERSION = 3  # of random weights; every change of what is drawn raises it
_FIRST_RANDOM = "random"  # what records of version 1 call them
_CONVOLUTIONS = (2, 2, 4, 4, 1)  # of each block; block 5 ends at its first
_WIDTHS = (64, 128, 256, 512, 512)
# More random features would tell little more, and took most of the demo's time.
RANDOM_WIDTHS = (16, 32, 64, 128, 128)

Layer = tuple[np.ndarray, np.ndarray]  # kernel (3, 3, inputs, outputs) and bias (outputs,)


def _list_shapes(widths: Sequence[int]) -> list[tuple[str, tuple[int, ...]]]:
    """Return Keras's name of each layer with the shape of its kernel; the blocks have so many features."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    inputs = 3
    for block, (width, count) in enumerate(zip(widths, _CONVOLUTIONS, strict=True), start=1):
        for number in range(1, count + 1):
            shapes.append((f"block{block}_conv{number}", (3, 3, inputs, width)))
            inputs = width
    return shapes


_SHAPES = _list_shapes(_WIDTHS)


def check_weights(weights: str) -> None:
    """Refuse a file that does not hold the weights of VGG-19. Words such as "imagenet" pass.

    Raises:
      InputError: no such file, a damaged one, or one that lacks a layer.
    """
    if weights not in VGG_WORDS:
        read_layers(weights)


def read_layers(path: str) -> dict[str, Layer]:
    """Return the layers of a file of weights by Keras's names, in order.

    Raises:
      InputError: no such file, a damaged one, or one that lacks a layer.
    """
    file = pathlib.Path(path)
    if not file.is_file():
        raise InputError(path, found="no such file", expected=CHOICES)
    return pick_layers(_read_npz(file) if file.suffix == ".npz" else _read_h5(file), path)


def draw_layers(seed: int) -> dict[str, Layer]:
    """Return random layers by Keras's names, a quarter as wide as VGG-19's.

    They follow He's rule, under which activations keep their scale, but for each block's first layer. Without biases a
    factor of a layer goes through all later ones, so that these five give each level of features its `RANDOM_GAINS`.
    """
    rng, layers = np.random.default_rng(seed), {}
    steps = np.divide(RANDOM_GAINS, (1.0, *RANDOM_GAINS[:-1]))
    for name, shape in _list_shapes(RANDOM_WIDTHS):
        scale = np.sqrt(2.0 / np.prod(shape[:-1]))
        if name.endswith("conv1"):
            scale *= steps[int(name.removeprefix("block")[0]) - 1]
        kernel = (scale * rng.standard_normal(shape)).astype(np.float32)
        layers[name] = kernel, np.zeros(shape[-1], np.float32)
    return layers


def identify_weights(weights: str) -> str:
    """Return what tells weights from others: a file's SHA-256, the version of random ones, or else their word."""
    if weights == "random":
        return f"random, version {RANDOM_VERSION}"
    return weights if weights in VGG_WORDS else digest_file(weights)


def are_noted_weights(weights: str, noted: str | None) -> bool:
    """Return whether these weights are those that a run has noted, as `identify_weights` gives them.

    Runs that noted nothing are taken for ones with the same weights. Only random ones are known to be others: their
    first version is older than the notes.
    """
    if noted is None:
        noted = _FIRST_RANDOM if weights == "random" else identify_weights(weights)
    return noted == identify_weights(weights)


def pick_layers(arrays: dict[str, np.ndarray], source: str) -> dict[str, Layer]:
    """Return the layers among arrays by "layer/kernel" and "layer/bias".

    Raises:
      InputError: a layer is missing or of another shape.
    """
    return {name: _find_layer(arrays, name, shape, source) for name, shape in _SHAPES}


def _find_layer(
    arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], source: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel and the bias of a layer."""
    for kind, expected in (("kernel", shape), ("bias", shape[-1:])):
        found = arrays.get(f"{name}/{kind}")
        if found is None:
            raise InputError(source, found=f"no {name}/{kind}", expected="Keras's VGG-19 layer names")
        if found.shape != expected:
            raise InputError(source, found=f"{name}/{kind} of shape {found.shape}", expected=f"shape {expected}")
    return arrays[f"{name}/kernel"], arrays[f"{name}/bias"]


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return arrays by name; a kernel may be stored in 8 bits, as `name|q` with `name|scale_min`."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
    except Exception as error:
        raise InputError(path, found=f"a damaged file ({error})", expected=CHOICES) from error
    arrays = {name: value for name, value in stored.items() if "|" not in name}
    for name in (name[:-2] for name in stored if name.endswith("|q")):
        if f"{name}|scale_min" not in stored:
            raise InputError(path, found=f"no {name}|scale_min", expected=f"it beside {name}|q")
        scale, low = stored[f"{name}|scale_min"]
        arrays[name] = (stored[f"{name}|q"].astype(np.float64) * scale + low).astype(np.float32)
    return arrays


def _read_h5(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return arrays by "layer/kernel" and "layer/bias" from a file that Keras wrote."""
    arrays: dict[str, np.ndarray] = {}

    def take(name: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Dataset):
            layer, variable = name.split("/")[-2:]
            arrays[f"{layer}/{variable.split(':')[0]}"] = item[()]

    try:
        with h5py.File(path, "r") as file:
            file.visititems(take)
    except (OSError, ValueError) as error:
        raise InputError(path, found=f"no VGG-19 weights ({error})", expected=CHOICES) from error
    return arrays
