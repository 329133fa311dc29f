"""A cache of prepared cases on disk, so that a run that starts again does not read every CT again."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from fedsim_tf.data.checks import extent_text
from fedsim_tf.data.crops import Crop
from fedsim_tf.data.preprocess import WINDOW_HU, PreparedCase, prepare
from fedsim_tf.data.remarks import collect_remarks, repeat, warn
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, write_npz
from fedsim_tf.volume import Case, Geometry

# Raise this number when preparation changes: files of another format are never looked at.
FORMAT = 4
MOST_CUT = 0.05  # share of a heart outside its crop that nothing is said of


class CaseSource(Protocol):
    """A source of cases that are loaded one at a time, such as a `Cohort`."""

    @property
    def name(self) -> str:
        """Return the name of the data set or site."""

    def load(self, identity: str) -> Case:
        """Return one case."""

    def fingerprint(self, identity: str) -> str:
        """Return a text that changes when the case does."""


def prepare_cohort(
    cohort: CaseSource,
    identities: Sequence[str],
    size: int,
    *,
    window_hu: tuple[float, float] = WINDOW_HU,
    crops: Mapping[str, Crop] | None = None,
    cache_dir: str | os.PathLike | None = None,
    progress: Callable[[int, int, str], None] | None = None,
    refused: Callable[[InputError], None] | None = None,
) -> list[PreparedCase]:
    """Return prepared cases, loaded from a source or read from the cache, in the order of `identities`.

    Args:
      cohort: the source.
      identities: the cases wanted.
      size: voxels along each edge of the cubes.
      window_hu: CT values that become -1 and 1.
      crops: the part of each CT that is taken; None takes the whole fields of view.
      cache_dir: the folder in which prepared cases are kept; a damaged file there is made again. None keeps nothing.
      progress: called after each case with the number done, the number wanted and the identity.
      refused: called with the reason for each case that cannot be used and is left out; None raises it.

    Raises:
      InputError: see `Cohort.load` and `prepare`; a heart that has no voxel of the cube.
    """
    prepared = []
    for done, identity in enumerate(identities, 1):
        try:
            crop = None if crops is None else crops[identity]
            prepared.append(_load_prepared(cohort, identity, size, window_hu, crop, cache_dir))
        except InputError as error:
            if refused is None:
                raise
            refused(error)
        if progress is not None:
            progress(done, len(identities), identity)
    return prepared


def _load_prepared(
    cohort: CaseSource,
    identity: str,
    size: int,
    window_hu: tuple[float, float],
    crop: Crop | None,
    cache_dir: str | os.PathLike | None,
) -> PreparedCase:
    path = None if cache_dir is None else _cache_file(cohort, identity, size, window_hu, crop, cache_dir)
    cached = None if path is None else read_prepared(path, size)
    if cached is not None:
        for remark in cached.remarks:
            repeat(remark)
        return cached
    with collect_remarks() as remarks:
        whole = cohort.load(identity)
        case = prepare(whole, size, window_hu=window_hu, crop=crop)
        _check_heart_left(case)
        _warn_of_cut_heart(whole, case)
    case = dataclasses.replace(case, remarks=tuple(remarks))
    if path is not None:
        write_prepared(case, path)
    return case


def _check_heart_left(case: PreparedCase) -> None:
    """Refuse a heart so small that no voxel of the cube shows it: any mask that is empty too would score 100."""
    if case.label is not None and not case.label.any():
        found = f"a heart so small that none of {len(case.label)}^3 voxels shows it"
        raise InputError(case.identity, found=found, expected="a whole heart as label, or a CT cropped around it")


def _warn_of_cut_heart(whole: Case, cube: PreparedCase) -> None:
    """Warn where a part of the heart lies outside the cube: it is neither learnt nor scored."""
    if whole.label is None or cube.crop is None or cube.heart_ml is None:
        return
    outside = 1.0 - cube.heart_ml / whole.label.nonzero_ml
    if outside > MOST_CUT:  # less is what another grid of voxels makes of any volume
        text = "%s: %.0f %% of the heart lies outside its crop of %s mm; a larger data.crop_mm would hold it"
        warn(text, whole.identity, 100 * outside, extent_text(cube.crop.edges_mm))


def is_prepared(
    cohort: CaseSource, identity: str, size: int, window_hu: tuple[float, float], *, cache_dir: str | os.PathLike
) -> bool:
    """Return whether the cache has a case, prepared for this size and window, whose files have not changed since."""
    return _cache_file(cohort, identity, size, window_hu, None, cache_dir).exists()


def _cache_file(
    cohort: CaseSource,
    identity: str,
    size: int,
    window_hu: tuple[float, float],
    crop: Crop | None,
    cache_dir: str | os.PathLike,
) -> pathlib.Path:
    key = digest_json([FORMAT, cohort.name, identity, cohort.fingerprint(identity), size, list(window_hu), crop])
    return pathlib.Path(cache_dir) / f"{key[:32]}.npz"


def write_prepared(case: PreparedCase, path: str | os.PathLike) -> None:
    """Write a prepared case as .npz, atomically."""
    arrays = {"image": case.image} if case.label is None else {"image": case.image, "label": case.label}
    facts = {
        "identity": case.identity,
        "geometry": _pack(case.geometry),
        "original": _pack(case.original),
        "original_shape": case.original_shape,
        "window_hu": case.window_hu,
        "content": case.content,
        "regions": np.array(case.regions, np.uint8),
        "remarks": np.array(case.remarks, np.str_),
        "crop": np.array([] if case.crop is None else [*case.crop.centre_mm, *case.crop.edges_mm]),
    }
    write_npz(path, {**facts, **arrays})


def read_prepared(path: str | os.PathLike, size: int) -> PreparedCase | None:
    """Return a prepared case, or None if its file is missing, damaged (zip keeps checksums) or of another size."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            z, y, x = (int(n) for n in stored["original_shape"])
            low, high = (float(value) for value in stored["window_hu"])
            case = PreparedCase(
                identity=str(stored["identity"]),
                image=stored["image"],
                label=stored.get("label"),
                geometry=_unpack(stored["geometry"]),
                original=_unpack(stored["original"]),
                original_shape=(z, y, x),
                window_hu=(low, high),
                content=str(stored["content"]),
                regions=tuple(stored["regions"].tolist()),
                remarks=tuple(stored["remarks"].tolist()),
                crop=_unpack_crop(stored["crop"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    arrays = [case.image] if case.label is None else [case.image, case.label]
    return case if all(array.shape == (size, size, size) for array in arrays) else None


def _pack(geometry: Geometry) -> np.ndarray:
    return np.array([*geometry.spacing_mm, *geometry.origin_mm, *geometry.direction])


def _unpack_crop(numbers: np.ndarray) -> Crop | None:
    if not len(numbers):
        return None
    x, y, z, *edges_mm = numbers.tolist()
    return Crop((x, y, z), tuple(edges_mm))


def _unpack(numbers: np.ndarray) -> Geometry:
    values = tuple(numbers.tolist())
    return Geometry(values[:3], values[3:6], values[6:15])
