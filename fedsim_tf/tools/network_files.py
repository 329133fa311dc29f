"""Write a segmentation network as files that other programs load: a TensorFlow SavedModel, or ONNX."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.records.network_card import IMAGE, LOGITS, MASK, ONNX, SAVED_MODEL
from fedsim_tf.training.checkpoints import plain_path
from fedsim_tf.training.segmentation import decide_mask

_OPSET = 17  # of 2022: programs of today read it, and it has all that the network takes


def write_saved_model(network: UNet3D, folder: pathlib.Path, *, size: int) -> None:
    """Write a network as a SavedModel with one signature, `serving_default`.

    Keras's own export would trace every layer by itself; here one function and its variables are all that is written.

    Args:
      network: the network, in the precision that is exported.
      folder: where it is written.
      size: voxels along each edge of its volumes.
    """
    module, traced = tf.Module(), _trace(network, (size,) * 3)
    module.network_variables = network.variables  # what a function reads has to belong to what is saved
    folder.mkdir(parents=True)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # TensorFlow would name the folder, which is renamed once all is written
    try:
        with plain_path(folder) as path:
            # Whoever loads the network would be warned of each function for a gradient, and it is not to learn.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(module, path, signatures=traced, options=options)
    finally:
        logging.disable(before)


def write_onnx(network: UNet3D, file: pathlib.Path, *, size: int) -> None:
    """Write a network as ONNX; see `write_saved_model` for its arguments.

    It is traced for volumes of any edge. For a known one up-convolutions are merged with what follows them (see
    `raised_convolution`), and the converter would keep a constant map as large as the volume for every level.
    """
    import onnx
    import tf2onnx

    traced = _trace(network, (None,) * 3)
    model, _ = tf2onnx.convert.from_function(traced, input_signature=traced.input_signature, opset=_OPSET)
    for value in (*model.graph.input, *model.graph.output):
        dimensions = value.type.tensor_type.shape.dim
        dimensions[0].dim_param = "volumes"
        for edge in dimensions[1:4]:
            edge.dim_value = size
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(model, str(file))


WRITERS: Mapping[str, Callable[..., None]] = {SAVED_MODEL: write_saved_model, ONNX: write_onnx}


def _trace(network: UNet3D, shape: Sequence[int | None]) -> tf.types.experimental.GenericFunction:
    """Return the network as a function of images (n, z, y, x, 1), given (z, y, x), that returns logits and masks."""

    def call(image: tf.Tensor) -> dict[str, tf.Tensor]:
        found = network(image)
        logits = tf.ensure_shape(found, (*image.shape[:-1], found.shape[-1]))
        return {LOGITS: logits, MASK: decide_mask(logits)}

    spec = tf.TensorSpec((None, *shape, 1), tf.float32, name=IMAGE)
    return tf.function(call, input_signature=[spec], autograph=False)
