"""Write what a site has learnt to simulate as a generator."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

import fedsim_tf
from fedsim_tf.arms import ARMS
from fedsim_tf.config import Config
from fedsim_tf.generator.folder import write_generator
from fedsim_tf.generator.weights import take_weights
from fedsim_tf.models.latents import LatentDistribution
from fedsim_tf.models.precision import resolve_precision
from fedsim_tf.models.volume_enhancer import VolumeEnhancer
from fedsim_tf.records.generator_card import GeneratorCard, find_terms, list_limits
from fedsim_tf.training.learner import SiteLearner

# Fields of the model that no generator needs; of those that name files nothing may be kept.
_UNUSED = ("shape_model", "shape_model_of_held_out", "discriminator_width", "unet_width", "vgg_weights")

PLUS_FIELDS = ("enhancement", "interpolated", "width")  # that a generator of Ours-Plus notes


def generator_folder(samples: pathlib.Path) -> pathlib.Path:
    """Return where the generator of an arm is, given the folder of its samples: `generators/<arm>` beside them."""
    return samples.parents[1] / "generators" / samples.name


def export_generator(
    folder: pathlib.Path,
    learner: SiteLearner,
    distribution: LatentDistribution,
    *,
    arm: str,
    with_unlabelled: bool,
    changes_sd: np.ndarray | None = None,
    volume_enhancer: VolumeEnhancer | None = None,
) -> None:
    """Write a site's generator as its networks are now.

    Call it while an enhancement network that works slice by slice has its statistics for sampling
    (`training.batch_norm.settle_statistics`): the generator keeps them.

    Args:
      folder: where it is written.
      learner: the site's state.
      distribution: the normal distribution that its latents are drawn from.
      arm: the arm whose volumes it makes.
      with_unlabelled: whether the networks have learnt from unannotated volumes too.
      changes_sd: the standard deviations (K + 7,) of the changes of hearts, of Ours-Plus alone.
      volume_enhancer: the enhancement network for whole volumes, of Ours-Plus alone; None: that of the learner's model,
        which works slice by slice.
    """
    model, config, data = learner.model, learner.config, learner.data
    sites = config.federated.sites if ARMS[arm].federated else ()
    settings = _take_settings(config)
    if changes_sd is not None:
        settings["plus"] = {name: getattr(config.plus, name) for name in PLUS_FIELDS}
    card = GeneratorCard(
        arm=arm,
        data_set=data.name,
        phantom=config.is_phantom,
        annotated=len(data.labelled),
        unannotated=len(data.unlabelled) if with_unlabelled else 0,
        sites=sites,
        field_of_view_mm=model.field_of_view_mm,
        settings=settings,
        fedsim_tf=fedsim_tf.__version__,
        tensorflow=tf.__version__,
        terms=find_terms(data.name, phantom=config.is_phantom, sites=sites),
        limits=list_limits(changes_hearts=changes_sd is not None, whole_volumes=volume_enhancer is not None),
    )
    networks = {
        "shape": model.shape_generator,
        "material": model.material_generator,
        "enhancement": model.enhancer if volume_enhancer is None else volume_enhancer,
    }
    write_generator(
        folder,
        card,
        shape_model=model.decoder.ssm,
        mean=distribution.mean,
        root=distribution.root,
        weights={name: take_weights(network) for name, network in networks.items()},
        changes_sd=changes_sd,
    )


def _take_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Return the settings that networks and scanner are built with; the precision is the one that was computed in."""
    values = config.to_dict()
    model = {name: value for name, value in values["model"].items() if name not in _UNUSED}
    model["precision"] = resolve_precision(config.model.precision)
    window = {name: values["data"][name] for name in ("window_low_hu", "window_high_hu")}
    return {"model": model, "data": window}
