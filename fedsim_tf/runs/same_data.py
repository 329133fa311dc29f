"""What a fold learns from, noted when it begins: a run that goes on has to find the same volumes and shape model."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import ndimage

from fedsim_tf.config import VGG_WORDS, Config
from fedsim_tf.data.checks import extent_text
from fedsim_tf.errors import InputError
from fedsim_tf.files import file_digest, read_json, write_json
from fedsim_tf.shape.ssm import PHANTOM_MODEL
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import SiteVolumes

RECORD = "data.json"
_LATER = ("vgg", "in_files_mm")  # not in records of before
TOLERANCE = 1e-3  # on the scale of images, or mm: machines and versions of libraries round differently
_ANOTHER = "what the run began with, or another --run_dir"


def check_same_data(run: RunFolder, site: SiteVolumes) -> None:
    """Notes a fold's volumes, their extents and its shape model at its first start; at others compares with that.

    Files may have been moved. Volumes are told by their part in the fold, by mean, spread and centre of mass of the
    image, and by size and centre of the heart: a volume that was turned or whose label was corrected is another one.

    Raises:
      InputError: names the first volume that is another, or in another part; other extents, another shape model or
        other VGG weights.
    """
    file, found = run.path / RECORD, _record(run.config, site)
    if not file.exists():
        write_json(file, found)
        return
    kept = {**{name: found[name] for name in _LATER}, **read_json(file)}
    if set(kept) != set(found) or set(kept["parts"]) != set(found["parts"]):
        raise InputError(file, found="what another version of this code noted", expected=_ANOTHER)
    if kept["shape_model"] != found["shape_model"]:
        raise InputError(file, found="another shape model now", expected=_ANOTHER)
    if kept["vgg"] != found["vgg"]:
        raise InputError(file, found="other VGG-19 weights now", expected=_ANOTHER)
    for part, values in found["parts"].items():
        _compare(file, part, kept["parts"][part], values)
    if not np.allclose(kept["field_of_view_mm"], found["field_of_view_mm"], rtol=0, atol=TOLERANCE):
        extent = extent_text(found["field_of_view_mm"])
        raise InputError(file, found=f"a field of view of {extent} mm now", expected=_ANOTHER)


def fields_of_view_of(fold_dir: pathlib.Path) -> list[tuple[float, float, float]]:
    """The extent (x, y, z) in mm of the volumes that a fold has learnt from, their median; none where none is noted.

    Where files do not carry true extents, the one that was given and that in the files.
    """
    try:
        record = read_json(fold_dir / RECORD)
    except (OSError, ValueError):
        return []
    extents = [tuple(record[name]) for name in ("field_of_view_mm", "in_files_mm") if name in record]
    return list(dict.fromkeys(extents))


def learnt_from(fold_dir: pathlib.Path) -> set[str]:
    """The volumes that a fold has learnt from or was chosen by; none where none are noted."""
    file = fold_dir / RECORD
    parts = read_json(file)["parts"] if file.exists() else {}
    return {identity for part, volumes in parts.items() if part != "test" for identity in volumes}


def shape_model_digest(config: Config) -> str:
    """SHA-256 of the shape model's file: sites whose files differ would learn different things."""
    return file_digest(config.model.shape_model or PHANTOM_MODEL)


def _record(config: Config, site: SiteVolumes) -> dict[str, Any]:
    """Of each volume, by part and identity: marks of the image, and of the heart where annotated."""
    extents = dict(zip(site.test.identities, site.test_extents_mm.tolist(), strict=True))
    annotated = {
        "labelled": site.labelled,
        "upper bound": site.fully_labelled,
        "validation": site.validation,
        "test": site.test,
    }
    parts = {
        name: {
            identity: [*_marks(image), float(label.sum()), *_centre(label)]
            for identity, image, label in zip(part.identities, part.images, part.labels, strict=True)
        }
        for name, part in annotated.items()
    }
    parts["test"] = {identity: [*marks, *extents[identity]] for identity, marks in parts["test"].items()}
    other = site.unlabelled
    parts["unlabelled"] = {name: _marks(image) for name, image in zip(other.identities, other.images, strict=True)}
    rounded = lambda extent_mm: [round(mm, 3) for mm in extent_mm]  # noqa: E731
    return {
        "shape_model": shape_model_digest(config),
        "vgg": _vgg_digest(config.model.vgg_weights),
        "field_of_view_mm": rounded(site.field_of_view_mm),
        "in_files_mm": rounded(site.in_files_mm or site.field_of_view_mm),
        "parts": parts,
    }


def _vgg_digest(weights: str) -> str:
    """SHA-256 of a file's contents; of weights that are no file, their word."""
    return weights if weights in VGG_WORDS else file_digest(weights)


def _marks(image: np.ndarray) -> list[float]:
    values = image.astype(np.float64)
    return [round(float(values.mean()), 6), round(float(values.std()), 6), *_centre(values - values.min())]


def _centre(weights: np.ndarray) -> list[float]:
    """Centre of mass as a share of each edge (z, y, x); zeros where there is no mass."""
    if not weights.any():
        return [0.0, 0.0, 0.0]
    centre = ndimage.center_of_mass(weights.astype(np.float64))
    return [round(float(place) / n, 6) for place, n in zip(centre, weights.shape, strict=True)]


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
