"""Federated simulation of labelled cardiac CT, after Li, Kar, Ravikumar, Frangi and Fidler, MICCAI 2020.

What a finished run has learnt is used from Python through five names, which are imported when they are first used.
`import fedsim_tf` itself takes no time and does not import TensorFlow:

    import fedsim_tf

    generator = fedsim_tf.load_generator("runs/demo/fold_0/generators/ours_full")
    for volume in generator.sample(3, seed=1):
        print(volume.image.array.shape, volume.label.nonzero_ml)

    segment = fedsim_tf.load_segmenter("runs/demo/fold_0")
    heart = segment(fedsim_tf.read("ct.nii.gz"))
    fedsim_tf.write(heart, "heart.nii.gz")

    model = fedsim_tf.load_shape_model("runs/demo/fold_0/generators/ours_full/shape_model.npz")
    points_mm = model.instance([2.0] + [0.0] * (model.n_modes - 1))

Bad input raises `fedsim_tf.errors.InputError`, a ValueError with a message of one line.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fedsim_tf.legacy_keras import choose_keras_2

if TYPE_CHECKING:
    from fedsim_tf.data.reading import read_volume as read
    from fedsim_tf.data.writing import write_volume as write
    from fedsim_tf.generator.sampler import load_generator
    from fedsim_tf.shape.ssm import load_shape_model
    from fedsim_tf.tools.segment import load_segmenter

__version__ = "0.1.0"
__all__ = ["load_generator", "load_segmenter", "load_shape_model", "read", "write"]

choose_keras_2()  # before any module imports TensorFlow

_WHERE = {  # module and name of what is imported when it is first used
    "load_generator": ("fedsim_tf.generator.sampler", "load_generator"),
    "load_segmenter": ("fedsim_tf.tools.segment", "load_segmenter"),
    "load_shape_model": ("fedsim_tf.shape.ssm", "load_shape_model"),
    "read": ("fedsim_tf.data.reading", "read_volume"),
    "write": ("fedsim_tf.data.writing", "write_volume"),
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'fedsim_tf' has no attribute {name!r}")
    module, original = _WHERE[name]
    return getattr(importlib.import_module(module), original)
