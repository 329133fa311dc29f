"""Networks on a GPU take TensorFlow's own 3-D convolutions: the same weights, results and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.models.volume_enhancer import VolumeEnhancer

MAKERS = {
    "segmentation": (lambda: UNet3D(2, seed=3, outputs=2), 1),
    "enhancement, interpolated": (lambda: VolumeEnhancer(2, seed=3), 2),
    "enhancement, up-convolved": (lambda: VolumeEnhancer(2, seed=3, interpolated=False), 2),
}


def kinds_of_operations(call, images):
    graph = tf.function(call, autograph=False).get_concrete_function(images).graph
    return {operation.type for operation in graph.get_operations()}


def outputs_and_gradients(network, images):
    with tf.GradientTape() as tape:
        tape.watch(images)
        out = network(images)
        total = tf.reduce_sum(tf.sin(out))
    gradients = tape.gradient(total, [images, *network.trainable_variables])
    return out.numpy(), gradients[0].numpy(), np.concatenate([each.numpy().ravel() for each in gradients[1:]])


@pytest.mark.parametrize("name", MAKERS)
def test_both_forms_are_one_network(rng, monkeypatch, name):
    make, channels = MAKERS[name]
    images = tf.constant(rng.standard_normal((1, 16, 16, 16, channels)), tf.float32)
    found = {}
    for for_processors in (True, False):
        gpus = [] if for_processors else ["one"]
        monkeypatch.setattr("fedsim_tf.models.device_forms.list_gpus", lambda gpus=gpus: gpus)
        network = make()
        found[for_processors] = outputs_and_gradients(network, images)
        monkeypatch.undo()  # the form was chosen when the network was made
        kinds = kinds_of_operations(network, images)
        assert ("Conv2D" in kinds) == for_processors
        assert ("Conv3DBackpropInputV2" in kinds) == (not for_processors and "interpolated" not in name)
    for ours, own in zip(found[True], found[False], strict=True):
        assert np.linalg.norm(ours - own) < 1e-4 * np.linalg.norm(own)
