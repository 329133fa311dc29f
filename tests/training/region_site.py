"""The toy site with labels by region: seven balls, each with a CT value of its own."""

import dataclasses
import functools

import numpy as np
import tensorflow as tf

from fedsim_tf.shape.decoder import ShapeDecoder
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.parameters import shape_frame_mm
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.voxelize import to_label_map
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.volumes import SiteVolumes, UnlabelledVolumes, Volumes
from tests.shape.shapes_for_tests import population_of_regions
from tests.training.toy_site import FIELD_OF_VIEW_MM, small_vgg, toy_config

_TO_FRAME = np.float32(shape_frame_mm(FIELD_OF_VIEW_MM)[0] / FIELD_OF_VIEW_MM[0])
BACKGROUND_UNIT, REGION_UNIT = -0.8, np.array([0.4, 0.3, 0.4, 0.3, 0.1, 0.4, 0.3], np.float32)


def region_config(**overrides):
    """The toy configuration with labels by region."""
    return toy_config(**{**overrides, "model": {"labels": "regions", **overrides.get("model", {})}})


@functools.cache
def region_shape_model():
    points, faces, region_id = population_of_regions(n=8)
    return StatisticalShapeModel.fit(points * _TO_FRAME, faces, region_id, n_modes=4)


@functools.cache
def region_volumes(count, seed):
    """Hearts drawn from the shape model, in noise."""
    grid = Grid.centred((32, 32, 32), shape_frame_mm(FIELD_OF_VIEW_MM))
    decoder = ShapeDecoder(region_shape_model(), grid, labels="regions")
    rng = np.random.default_rng(seed)
    tau = np.concatenate([rng.normal(0, 1, (count, 4)), rng.normal(0, 0.05, (count, 7))], axis=1)
    soft = decoder(tf.constant(tau, tf.float32))
    clean = BACKGROUND_UNIT + soft.numpy() @ (REGION_UNIT - BACKGROUND_UNIT)
    images = np.clip(clean + 0.03 * rng.standard_normal(clean.shape), -1, 1).astype(np.float32)
    regions = to_label_map(soft).numpy()
    return Volumes(tuple(f"toy_{seed}_{i}" for i in range(count)), images, (regions > 0).astype(np.float32), regions)


def without_regions(volumes, *numbers):
    """Return volumes some of which are labelled as a whole."""
    regions = volumes.regions.copy()
    for number in numbers:
        regions[number] = regions[number] > 0
    return dataclasses.replace(volumes, regions=regions)


def region_site(name="toy", seed=0, whole=()):
    """Return the site; the annotated volumes `whole` have labels of one region."""
    labelled, rest = without_regions(region_volumes(3, seed), *whole), region_volumes(2, seed + 100)
    return SiteVolumes(
        name=name,
        field_of_view_mm=FIELD_OF_VIEW_MM,
        labelled=labelled,
        unlabelled=UnlabelledVolumes(rest.identities, rest.images),
        fully_labelled=labelled,
        validation=region_volumes(1, seed + 200),
        test=region_volumes(1, seed + 300),
        test_extents_mm=np.array([FIELD_OF_VIEW_MM]),
    )


def region_learner(config=None, **site):
    return SiteLearner(config or region_config(), region_shape_model(), region_site(**site), small_vgg())
