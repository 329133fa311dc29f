"""A toy site: two balls in noise, tiny networks, the smallest grid; for tests of training, federation and jobs."""

import functools

import numpy as np
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.parameters import shape_frame_mm
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.volumes import SiteVolumes, UnlabelledVolumes, Volumes
from tests.runs.toy_networks import SmallVGG
from tests.shape.shapes_for_tests import population

FIELD_OF_VIEW_MM = (96.0, 96.0, 96.0)
_TO_FRAME = np.float32(shape_frame_mm(FIELD_OF_VIEW_MM)[0] / FIELD_OF_VIEW_MM[0])


def toy_config(**overrides):
    """The demo preset with tiny networks and a few steps of everything."""
    sections = {
        "checkpoint_every": 2,
        "model": {
            "gan_width": 4,
            "discriminator_width": 4,
            "unet_width": 2,
            "shape_modes": 4,
            "precision": "float32",
        },
        "pretraining": {"steps": 4, "batch": 2},
        "gan": {"steps": 3, "batch": 2},
        "semi": {"steps": 4, "batch": 2},
        "synthesis": {"volumes": 2},
        "segmentation": {
            "arms": ("lower_bound", "ours_full", "upper_bound"),
            "pretraining_steps": 3,
            "finetuning_steps": 3,
            "validation_every": 2,
        },
    }
    for name, value in overrides.items():
        sections[name] = {**sections[name], **value} if isinstance(sections.get(name), dict) else value
    return make_config("demo", **sections)


@functools.cache
def toy_shape_model():
    points, faces, region_id = population(n=12)
    return StatisticalShapeModel.fit(points * _TO_FRAME, faces, region_id, n_modes=4)


@functools.cache
def toy_vgg():
    """VGG-19 itself; learners and federations do with less."""
    return VGG19Features("random")


@functools.cache
def small_vgg():
    return SmallVGG("random")


def toy_volumes(count, seed, edge=32):
    """Hearts drawn from the shape model, at 100 HU in air-filled noise; `edge` voxels along each axis."""
    grid = Grid.centred((edge,) * 3, shape_frame_mm(FIELD_OF_VIEW_MM))
    decoder = ShapeDecoder(toy_shape_model(), grid)
    rng = np.random.default_rng(seed)
    tau = np.concatenate([rng.normal(0, 1, (count, 4)), rng.normal(0, 0.1, (count, 3))], axis=1)
    tau = np.concatenate([tau, rng.normal(0, 4 * _TO_FRAME, (count, 3)), rng.normal(0, 0.05, (count, 1))], axis=1)
    soft = decoder(tf.constant(tau, tf.float32)).numpy()
    images = np.clip(soft * 1.0 - 0.8 + 0.03 * rng.standard_normal(soft.shape), -1, 1).astype(np.float32)
    names = tuple(f"toy_{seed}_{i}" for i in range(count))
    return Volumes(names, images, (soft > 0.5).astype(np.float32))


def toy_site(name="toy", seed=0, edge=32):
    labelled, rest = toy_volumes(3, seed, edge), toy_volumes(2, seed + 100, edge)
    return SiteVolumes(
        name=name,
        field_of_view_mm=FIELD_OF_VIEW_MM,
        labelled=labelled,
        unlabelled=UnlabelledVolumes(rest.identities, rest.images),
        fully_labelled=Volumes(
            labelled.identities + rest.identities,
            np.concatenate([labelled.images, rest.images]),
            np.concatenate([labelled.labels, rest.labels]),
        ),
        validation=toy_volumes(1, seed + 200, edge),
        test=toy_volumes(2, seed + 300, edge),
        test_extents_mm=np.array([FIELD_OF_VIEW_MM] * 2),
    )


def toy_learner(config=None, **site):
    return SiteLearner(config or toy_config(), toy_shape_model(), toy_site(**site), small_vgg())
