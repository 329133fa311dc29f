"""What a fold learns from, noted when it begins: a run that goes on has to find the same volumes and shape model."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.errors import InputError
from fedsim_tf.files import file_digest, read_json, write_json
from fedsim_tf.shape.ssm import PHANTOM_MODEL
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import SiteVolumes

RECORD = "data.json"
TOLERANCE = 1e-3  # on the scale of images: machines and versions of libraries round differently
_ANOTHER = "what the run began with, or another --run_dir"


def check_same_data(run: RunFolder, site: SiteVolumes) -> None:
    """Notes a fold's volumes and shape model at its first start; at others compares them with what was noted.

    Files may have been moved. Volumes are told by their part in the fold, size of the heart, mean and spread.

    Raises:
      InputError: names the first volume that is another, or in another part.
    """
    file, shape_model, parts = run.path / RECORD, shape_model_digest(run.config), _parts(site)
    if not file.exists():
        write_json(file, {"shape_model": shape_model, "parts": parts})
        return
    kept = read_json(file)
    if kept["shape_model"] != shape_model:
        raise InputError(file, found="another shape model now", expected=_ANOTHER)
    for part, values in parts.items():
        _compare(file, part, kept["parts"][part], values)


def shape_model_digest(config: Config) -> str:
    """SHA-256 of the shape model's file: sites whose files differ would learn different things."""
    return file_digest(config.model.shape_model or PHANTOM_MODEL)


def _parts(site: SiteVolumes) -> dict[str, dict[str, list[float]]]:
    """Of each volume, by part and identity: mean and spread of the image, and voxels of the heart where annotated."""
    unlabelled = site.unlabelled
    parts = {"labelled": site.labelled, "validation": site.validation, "test": site.test}
    found = {name: _marks(part.identities, part.images, labels=part.labels) for name, part in parts.items()}
    return {**found, "unlabelled": _marks(unlabelled.identities, unlabelled.images)}


def _marks(
    identities: Sequence[str], images: np.ndarray, *, labels: np.ndarray | None = None
) -> dict[str, list[float]]:
    marks = {}
    for number, identity in enumerate(identities):
        image = images[number].astype(np.float64)
        heart = [] if labels is None else [float(labels[number].sum())]
        marks[identity] = [round(float(image.mean()), 6), round(float(image.std()), 6), *heart]
    return marks


def _compare(file: pathlib.Path, part: str, kept: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    strangers = sorted(set(kept) ^ set(found))
    if strangers:
        new = strangers[0] in found
        raise InputError(
            file, found=f"{strangers[0]} {'now' if new else 'no longer'} in the {part} part", expected=_ANOTHER
        )
    for identity, values in found.items():
        if not all(math.isclose(a, b, abs_tol=TOLERANCE) for a, b in zip(values, kept[identity], strict=True)):
            raise InputError(file, found=f"{identity} changed since the fold began", expected=_ANOTHER)
