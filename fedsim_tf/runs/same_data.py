"""Note what a fold learns from when it begins: a run that goes on has to find the same volumes and shape model."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from absl import logging
from scipy import ndimage

from fedsim_tf.config import Config
from fedsim_tf.data.checks import extent_text
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_file
from fedsim_tf.localization.finder import write_finder
from fedsim_tf.models.vgg_weights import are_noted_weights, identify_weights
from fedsim_tf.records.fold_data import (
    DATA,
    LABELLED,
    TEST,
    TOLERANCE,
    UNLABELLED,
    UPPER_BOUND_PART,
    VALIDATION,
    FoldData,
    read_fold_data,
)
from fedsim_tf.records.versioned import write_record
from fedsim_tf.shape.ssm import PHANTOM_MODEL
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import SiteVolumes, Volumes

FINDER = "heart_atlases.npz"
_ANOTHER = "what the run began with, or another run folder"
_OTHER_VERSION = "what another version of this code noted"


def check_same_data(run: RunFolder, site: SiteVolumes) -> None:
    """Note a fold's volumes, their extents and its shape model at its first start; compare with that at later ones.

    Files may have been moved. A volume is told by its part in the fold, by mean, spread and centre of mass of the
    image, and by size and centre of the heart: a volume that was turned or whose label was corrected is another one.

    Raises:
      InputError: names the first volume that is another, or in another part; other extents, another shape model or
        other VGG weights; a damaged note.
    """
    if not compare_with_note(run.path, run.config, site):
        write_record(run.path / DATA, _describe_data(run.config, site))
    if site.finder is not None:
        write_finder(site.finder, run.path / FINDER)  # who uses the fold's networks crops as they have learnt it


def compare_with_note(fold_dir: pathlib.Path, config: Config, site: SiteVolumes) -> bool:
    """Compare a fold's data with what an earlier start noted, if there is a note; return whether there is one.

    Raises:
      InputError: see `check_same_data`.
    """
    file = fold_dir / DATA
    if not file.exists():
        return False
    kept, found = read_fold_data(file), _describe_data(config, site)
    if set(kept.parts) != set(found.parts):
        raise InputError(file, found=_OTHER_VERSION, expected=_ANOTHER)
    if kept.shape_model != found.shape_model:
        raise InputError(file, found="another shape model now", expected=_ANOTHER)
    if not are_noted_weights(config.model.vgg_weights, kept.vgg):
        raise InputError(file, found="other VGG-19 weights now", expected=_ANOTHER)
    for part, values in found.parts.items():
        _compare_parts(file, part, kept.parts[part], values)
    if not np.allclose(kept.field_of_view_mm, found.field_of_view_mm, rtol=0, atol=TOLERANCE):
        extent = extent_text(found.field_of_view_mm)
        raise InputError(file, found=f"a field of view of {extent} mm now", expected=_ANOTHER)
    return True


def read_fields_of_view(fold_dir: pathlib.Path) -> list[tuple[float, float, float]]:
    """Return the median extent (x, y, z) in mm of the volumes that a fold has learnt from; nothing where none is noted.

    Where files do not carry true extents, there are two: the one that was given, and that in the files. A note that
    cannot be read is warned of.
    """
    file = fold_dir / DATA
    if not file.exists():
        return []
    try:
        data = read_fold_data(file)
    except InputError as error:
        logging.warning("%s", error)
        return []
    return list(dict.fromkeys([data.field_of_view_mm, data.in_files_mm or data.field_of_view_mm]))


def read_known_volumes(fold_dir: pathlib.Path) -> set[str]:
    """Return the volumes that a fold has learnt from or was chosen by; none where none are noted.

    Raises:
      InputError: a damaged note.
    """
    file = fold_dir / DATA
    parts = read_fold_data(file).parts if file.exists() else {}
    return {identity for part, volumes in parts.items() if part != TEST for identity in volumes}


def shape_model_digest(config: Config) -> str:
    """Return the SHA-256 of the shape model's file: sites whose files differ would learn different things."""
    return digest_file(config.model.shape_model or PHANTOM_MODEL)


def _describe_data(config: Config, site: SiteVolumes) -> FoldData:
    """Return marks of each volume's image and, where annotated, of its heart; of test volumes also the extent."""
    annotated = {
        LABELLED: site.labelled,
        UPPER_BOUND_PART: site.fully_labelled,
        VALIDATION: site.validation,
        TEST: site.test,
    }
    parts = {
        name: {
            identity: (*_marks(image), float(label.sum()), *_centre(label))
            for identity, image, label in zip(part.identities, part.images, _labels_of(part), strict=True)
        }
        for name, part in annotated.items()
    }
    extents = dict(zip(site.test.identities, site.test_extents_mm.tolist(), strict=True))
    parts[TEST] = {identity: (*marks, *extents[identity]) for identity, marks in parts[TEST].items()}
    other = site.unlabelled
    parts[UNLABELLED] = {name: _marks(image) for name, image in zip(other.identities, other.images, strict=True)}
    return FoldData(
        shape_model=shape_model_digest(config),
        vgg=identify_weights(config.model.vgg_weights),
        field_of_view_mm=_round_extent(site.field_of_view_mm),
        in_files_mm=_round_extent(site.in_files_mm or site.field_of_view_mm),
        parts=parts,
    )


def _labels_of(part: Volumes) -> np.ndarray:
    """Return labels (n, z, y, x) as a run learns from them: region ids where they are told apart, else masks."""
    return part.labels if part.regions is None else part.regions


def _round_extent(extent_mm: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (round(mm, 3) for mm in extent_mm)
    return x, y, z


def _marks(image: np.ndarray) -> tuple[float, ...]:
    """Return mean, standard deviation and centre of mass of an image."""
    values = image.astype(np.float64)
    return (round(float(values.mean()), 6), round(float(values.std()), 6), *_centre(values - values.min()))


def _centre(weights: np.ndarray) -> list[float]:
    """Return the centre of mass as a share of each edge (z, y, x); zeros where there is no mass."""
    if not weights.any():
        return [0.0, 0.0, 0.0]
    centre = ndimage.center_of_mass(weights.astype(np.float64))
    return [round(float(place) / n, 6) for place, n in zip(centre, weights.shape, strict=True)]


def _compare_parts(
    file: pathlib.Path, part: str, kept: Mapping[str, Sequence[float]], found: Mapping[str, Sequence[float]]
) -> None:
    """Refuse a part whose volumes are not those that were noted; see `check_same_data`."""
    strangers = sorted(set(kept) ^ set(found))
    if strangers:
        when = "now" if strangers[0] in found else "no longer"
        raise InputError(file, found=f"{strangers[0]} {when} in the {part} part", expected=_ANOTHER)
    for identity, values in found.items():
        if len(values) != len(kept[identity]):
            raise InputError(file, found=_OTHER_VERSION, expected=_ANOTHER)
        if not all(math.isclose(a, b, abs_tol=TOLERANCE) for a, b in zip(values, kept[identity], strict=True)):
            raise InputError(file, found=f"{identity} changed since the fold began", expected=_ANOTHER)
