"""Which PyTorch tensor belongs to which TensorFlow variable; copies between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import torch
from torch import nn

from tests.oracles.seeded import VARIABLES, variables
from tests.oracles.torch_gan import VGG19, refresh_right_vectors


@dataclasses.dataclass(frozen=True)
class Link:
    """A variable and its tensor; `order` permutes the variable's axes to the tensor's."""

    name: str
    variable: tf.Variable
    tensor: torch.Tensor
    order: tuple[int, ...]

    @property
    def is_trained(self) -> bool:
        return isinstance(self.tensor, nn.Parameter)

    def load(self) -> None:
        """Copies the variable to the tensor."""
        value = self.variable.numpy().transpose(self.order).reshape(self.tensor.shape)
        with torch.no_grad():
            self.tensor.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def as_variable(self, tensor: torch.Tensor) -> np.ndarray:
        """Return a tensor of this shape, such as the gradient, laid out as the variable is."""
        permuted = [self.variable.shape[axis] for axis in self.order]
        return tensor.detach().numpy().reshape(permuted).transpose(np.argsort(self.order))


def links(ours: tf.Module, peer: nn.Module, layers: list[str]) -> list[Link]:
    """Return every variable of the layers with its tensor."""
    return list(_links(ours, peer, layers))


def load(ours: tf.Module, peer: nn.Module, layers: list[str]) -> list[Link]:
    """Give `peer` the weights of `ours`."""
    found = links(ours, peer, layers)
    for link in found:
        link.load()
    refresh_right_vectors(peer)
    return found


def load_vgg(ours, peer: VGG19) -> None:
    """Give `peer` the weights of a VGG19Features."""
    for name, layer in peer.layers.items():
        fixed = ours._layers[name]
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(fixed._kernel.numpy().transpose(3, 2, 0, 1).copy()))
            layer.bias.copy_(torch.from_numpy(fixed._bias.numpy()))


def _links(ours: tf.Module, peer: nn.Module, layers: list[str]) -> Iterator[Link]:
    for name, variable in variables(ours, layers):
        path, kind = name.rsplit(".", 1)
        module = peer.get_submodule(path)
        tensor_name = VARIABLES[kind]
        if kind == "kernel" and hasattr(module, "weight_orig"):
            tensor_name = "weight_orig"  # W; spectral norm's own "weight" is W / sigma
        rank = variable.shape.rank
        # Kernels end with (in, out), those of transposed convolutions with (out, in); PyTorch starts with (out, in)
        # and (in, out).
        order = (rank - 1, rank - 2, *range(rank - 2)) if kind == "kernel" else tuple(range(rank))
        yield Link(name, variable, getattr(module, tensor_name), order)


def to_torch(array: np.ndarray) -> torch.Tensor:
    """Return an array (B, ..., C) as a tensor (B, C, ...)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(array, -1, 1)))


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Return a tensor (B, C, ...) as an array (B, ..., C)."""
    return np.moveaxis(tensor.detach().numpy(), 1, -1)
