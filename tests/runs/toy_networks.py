"""Stand-ins for the largest networks and for long loops, so that whole runs take seconds."""

import functools

import numpy as np
import tensorflow as tf

from fedsim_tf.models.discriminator import MultiScaleDiscriminator


class SmallVGG:
    """Five levels of features as VGG-19 gives them, from nothing but averages."""

    def __init__(self, weights, dtype="float32"):
        self.source = f"small, {weights}"

    def __call__(self, images):
        return [tf.nn.avg_pool2d(images, 2**level, 2**level, "SAME") for level in range(5)]


class SmallUNet(tf.keras.Sequential):
    """Calls bright neighbourhoods heart from the start, and learns where to draw the line, whatever width and seed.

    By region it calls the brighter ones the later regions.
    """

    def __init__(self, width, *, seed, outputs=1):
        slopes = [1.0] if outputs == 1 else [0.0, *(0.7 + 0.1 * region for region in range(1, outputs))]
        kernel = np.broadcast_to(np.multiply(slopes, 4 / 27), (3, 3, 3, 1, outputs))
        bias = [1.0] if outputs == 1 else [0.0, *(1.0 - 0.05 * region for region in range(1, outputs))]
        start = {
            "kernel_initializer": tf.constant_initializer(kernel),
            "bias_initializer": tf.constant_initializer(bias),
        }
        layers = [tf.keras.layers.Conv3D(outputs, 3, padding="same", **start, name="only")]
        super().__init__(layers, name="small_unet")


def use_small_gan(patch):
    """Puts GANs of three blocks instead of seven, and of one scale instead of two, where learners have them built."""
    patch.setattr("fedsim_tf.models.gaugan.WIDTHS", (4, 2, 1))
    patch.setattr("fedsim_tf.models.gaugan.UPSAMPLED_BLOCKS", (0, 0, 0, 1, 2))  # 32 pixels leave out the first two
    one_scale = functools.partial(MultiScaleDiscriminator, scales=1)
    patch.setattr("fedsim_tf.models.built.MultiScaleDiscriminator", one_scale)


def use_small_parts(patch):
    """Puts all of them where runs have them built, and lets the GAN's statistics be means over two batches, not 32."""
    use_small_gan(patch)
    patch.setattr("fedsim_tf.models.built.VGG19Features", SmallVGG)
    patch.setattr("fedsim_tf.models.built.UNet3D", SmallUNet)
    patch.setattr("fedsim_tf.training.batch_norm.BATCHES", 2)
