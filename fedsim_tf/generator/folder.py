"""The folder of a generator: arrays without pickle, a card and checksums. TensorFlow is not needed to check it.

    generator.json          the card, with the settings that networks and scanner are built with
    card.md                 the card as a page
    shape.npz, material.npz, enhancement.npz     weights, the batch-norm statistics for sampling among them
    latents.npz             the normal distribution of the latents
    shape_model.npz         the statistical shape model, without its subjects' names
    changes.npz             of Ours-Plus alone: the standard deviations of the changes of hearts
    SHA256SUMS              checksums of all of them, as `sha256sum -c` reads them

Nothing in it is one patient's: there are no latents of training volumes and no identities.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from fedsim_tf.config import Config, from_kept
from fedsim_tf.errors import InputError, listed, naming
from fedsim_tf.files import SUMS, digest_file, digest_json, read_npz, write_npz, write_sums, write_text
from fedsim_tf.metrics import MEASURES
from fedsim_tf.records.fold_scores import ArmScores
from fedsim_tf.records.generator_card import GeneratorCard, format_card
from fedsim_tf.records.versioned import read_record, write_record
from fedsim_tf.regions import REGIONS
from fedsim_tf.shape.parameters import N_POSE
from fedsim_tf.shape.ssm import StatisticalShapeModel

NETWORKS = ("shape", "material", "enhancement")
CARD, _PAGE = "generator.json", "card.md"
_LATENTS, _SHAPE_MODEL, _CHANGES = "latents.npz", "shape_model.npz", "changes.npz"
_FILES = (CARD, _PAGE, _LATENTS, _SHAPE_MODEL, *(f"{name}.npz" for name in NETWORKS))
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")
_LIKE = "such as runs/demo/fold_0/generators/ours_full"
_REMEDY = GeneratorCard.REMEDY

Weights = Mapping[str, np.ndarray]  # a network's variables by name, in their order


@dataclasses.dataclass(frozen=True, eq=False)
class GeneratorFiles:
    """What a generator's folder holds, read and checked. `read_generator` makes it.

    Attributes:
      path: the folder.
      card: what it is.
      config: the settings of networks, scanner and CT window; other fields are the presets'.
      shape_model: the statistical shape model.
      mean, root: the latents' normal distribution, see `models.latents.draw_latents`.
      weights: by network, see `NETWORKS`.
      changes_sd: the standard deviations (K + 7,) of the changes of hearts; None where hearts are not changed.
      digest: SHA-256 of all that its volumes depend on.
    """

    path: pathlib.Path
    card: GeneratorCard
    config: Config
    shape_model: StatisticalShapeModel
    mean: np.ndarray
    root: np.ndarray
    weights: Mapping[str, Weights]
    changes_sd: np.ndarray | None
    digest: str

    @property
    def enhances_volumes(self) -> bool:
        """Whether its enhancement network sees whole volumes; else it works slice by slice."""
        return self.card.changes_hearts and self.config.plus.enhancement == "volumes"


def write_generator(
    folder: pathlib.Path,
    card: GeneratorCard,
    *,
    shape_model: StatisticalShapeModel,
    mean: np.ndarray,
    root: np.ndarray,
    weights: Mapping[str, Weights],
    changes_sd: np.ndarray | None = None,
) -> None:
    """Write a generator's folder; it has checksums, and is one, once all is written.

    Args:
      folder: where it is written.
      card, mean, root, weights: see `GeneratorFiles`.
      changes_sd: see `GeneratorFiles`; given if, and only if, the card says that hearts are changed.
      shape_model: the statistical shape model; names and digests of its subjects are left out.
    """
    (folder / SUMS).unlink(missing_ok=True)  # those of an earlier generator: until all is written this is none
    dataclasses.replace(shape_model, subjects=(), subject_digests=()).save(folder / _SHAPE_MODEL)
    write_npz(folder / _LATENTS, {"mean": mean, "root": root})
    for name in NETWORKS:
        write_npz(folder / f"{name}.npz", weights[name])
    if changes_sd is not None:
        write_npz(folder / _CHANGES, {"sd": changes_sd})
    _write_card(folder, card)


def is_generator(folder: pathlib.Path) -> bool:
    """Return whether a folder is a generator's that was written to the end."""
    return (folder / SUMS).is_file()


def note_scores(folder: pathlib.Path, scores: ArmScores) -> None:
    """Write into a generator's card what the network scored that learnt from its volumes.

    Raises:
      InputError: a damaged card.
    """
    card = read_record(folder / CARD, GeneratorCard)
    means = {name: getattr(scores, name) for name in MEASURES}
    scored = dataclasses.replace(card, scores=means, tested=len(scores.cases))
    if scored != card:
        _write_card(folder, scored)


def _write_card(folder: pathlib.Path, card: GeneratorCard) -> None:
    (folder / SUMS).unlink(missing_ok=True)  # those of the earlier card
    write_record(folder / CARD, card)
    write_text(folder / _PAGE, format_card(card))
    write_sums(folder, (folder / name for name in _list_files(card)))


def _list_files(card: GeneratorCard) -> tuple[str, ...]:
    """Return the names of the files that a generator with this card has beside its checksums."""
    return (*_FILES, _CHANGES) if card.changes_hearts else _FILES


def read_generator(path: str | os.PathLike) -> GeneratorFiles:
    """Return what a generator's folder holds.

    Raises:
      InputError: no such folder, another folder, files that are missing, damaged or not those that were written, a
        later version, or arrays that do not fit together; the message names the file.
    """
    folder = pathlib.Path(path)
    _check_folder(folder)
    sums = _check_sums(folder)
    card = read_record(folder / CARD, GeneratorCard)
    if set(sums) != set(_list_files(card)):
        raise _refuse_sums(folder / SUMS, _list_files(card))
    config = _read_settings(folder / CARD, card)
    shape_model = _read_shape_model(folder / _SHAPE_MODEL, config)
    mean, root = _read_latents(folder / _LATENTS, config.model.latent)
    weights = {name: _read_weights(folder / f"{name}.npz") for name in NETWORKS}
    changes_sd = _read_changes(folder / _CHANGES, shape_model) if card.changes_hearts else None
    return GeneratorFiles(folder, card, config, shape_model, mean, root, weights, changes_sd, _digest(card, sums))


def _check_folder(folder: pathlib.Path) -> None:
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise InputError(folder, found=found, expected=f"a generator's folder, {_LIKE}")
    if not (folder / CARD).is_file():
        below = [str(file.parent) for file in sorted(folder.rglob(CARD))]
        expected = f"a generator's folder: {listed(below)}" if below else f"a generator's folder, {_LIKE}"
        raise InputError(folder, found=f"no {CARD}", expected=expected)


def _digest(card: GeneratorCard, sums: Mapping[str, str]) -> str:
    arrays = {name: digest for name, digest in sums.items() if name.endswith(".npz")}
    return digest_json([arrays, card.settings, card.field_of_view_mm])


def _check_sums(folder: pathlib.Path) -> dict[str, str]:
    """Return each file's SHA-256, and refuse a folder whose files are not those that its checksums are of."""
    file = folder / SUMS
    if not file.is_file():
        raise InputError(folder, found=f"no {SUMS}", expected=f"a generator that was written to the end: {_REMEDY}")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    sums = {match[2]: match[1] for match in map(_SUM.fullmatch, lines) if match}
    if len(sums) != len(lines) or set(sums) - {_CHANGES} != set(_FILES):
        read_record(folder / CARD, GeneratorCard)  # one of a later version says so; it may have further files
        raise _refuse_sums(file, _FILES)
    for name, expected in sums.items():
        if not (folder / name).is_file():
            raise InputError(folder / name, found="no such file", expected=f"a whole generator: {_REMEDY}")
        if digest_file(folder / name) != expected:
            raise InputError(folder / name, found=f"another file than {SUMS} says", expected=f"a whole one: {_REMEDY}")
    return sums


def _refuse_sums(file: pathlib.Path, expected: Sequence[str]) -> InputError:
    return InputError(file, found="checksums of other files", expected=f"those of {', '.join(expected)}: {_REMEDY}")


def _read_settings(file: pathlib.Path, card: GeneratorCard) -> Config:
    with naming(file):
        try:
            return from_kept({name: dict(section) for name, section in card.settings.items()})
        except (AttributeError, TypeError) as error:
            raise InputError("settings", found=f"no settings ({error})", expected=_REMEDY) from None


def _read_shape_model(file: pathlib.Path, config: Config) -> StatisticalShapeModel:
    model = StatisticalShapeModel.load(file)
    if model.n_modes != config.model.shape_modes:
        expected = f"{config.model.shape_modes}, as {CARD} says: {_REMEDY}"
        raise InputError(file, found=f"{model.n_modes} modes", expected=expected)
    if config.model.by_region and model.missing_regions:
        missing = ", ".join(REGIONS[region].title for region in model.missing_regions)
        raise InputError(file, found=f"no {missing}", expected=f"all seven regions: {_REMEDY}")
    return model


def _read_latents(file: pathlib.Path, length: int) -> tuple[np.ndarray, np.ndarray]:
    arrays = _read_weights(file)
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {"mean": (length,), "root": (length, length)}:
        expected = f"mean ({length},) and root ({length}, {length}): {_REMEDY}"
        raise InputError(file, found=f"arrays {shapes}", expected=expected)
    return arrays["mean"], arrays["root"]


def _read_changes(file: pathlib.Path, shape_model: StatisticalShapeModel) -> np.ndarray:
    arrays, length = _read_weights(file), shape_model.n_modes + N_POSE
    shapes = {name: array.shape for name, array in arrays.items()}
    if shapes != {"sd": (length,)}:
        raise InputError(file, found=f"arrays {shapes}", expected=f"sd ({length},): {_REMEDY}")
    if (arrays["sd"] < 0).any():
        raise InputError(file, found="negative standard deviations", expected=_REMEDY)
    return arrays["sd"]


def _read_weights(file: pathlib.Path) -> dict[str, np.ndarray]:
    arrays = read_npz(file)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise InputError(file, found=f"{name} that is not all finite numbers", expected=_REMEDY)
    return arrays
