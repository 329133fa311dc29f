"""A cache of prepared cases on disk, so that a run that starts again does not read every CT again."""

from __future__ import annotations

import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from fedsim_tf.data.preprocess import WINDOW_HU, PreparedCase, prepare
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, write_npz
from fedsim_tf.volume import Case, Geometry

# Raise this number when preparation changes: files of another format are never looked at.
FORMAT = 1


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
      cache_dir: the folder in which prepared cases are kept; a damaged file there is made again. None keeps nothing.
      progress: called after each case with the number done, the number wanted and the identity.
      refused: called with the reason for each case that cannot be used and is left out; None raises it.

    Raises:
      InputError: see `Cohort.load` and `prepare`.
    """
    prepared = []
    for done, identity in enumerate(identities, 1):
        try:
            prepared.append(_load_prepared(cohort, identity, size, window_hu, cache_dir))
        except InputError as error:
            if refused is None:
                raise
            refused(error)
        if progress is not None:
            progress(done, len(identities), identity)
    return prepared


def _load_prepared(
    cohort: CaseSource, identity: str, size: int, window_hu: tuple[float, float], cache_dir: str | os.PathLike | None
) -> PreparedCase:
    if cache_dir is None:
        return prepare(cohort.load(identity), size, window_hu=window_hu)
    path = _cache_file(cohort, identity, size, window_hu, cache_dir)
    cached = read_prepared(path, size)
    if cached is None:
        cached = prepare(cohort.load(identity), size, window_hu=window_hu)
        write_prepared(cached, path)
    return cached


def is_prepared(
    cohort: CaseSource, identity: str, size: int, window_hu: tuple[float, float], *, cache_dir: str | os.PathLike
) -> bool:
    """Return whether the cache has a case, prepared for this size and window, whose files have not changed since."""
    return _cache_file(cohort, identity, size, window_hu, cache_dir).exists()


def _cache_file(
    cohort: CaseSource, identity: str, size: int, window_hu: tuple[float, float], cache_dir: str | os.PathLike
) -> pathlib.Path:
    key = digest_json([FORMAT, cohort.name, identity, cohort.fingerprint(identity), size, list(window_hu)])
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
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    arrays = [case.image] if case.label is None else [case.image, case.label]
    return case if all(array.shape == (size, size, size) for array in arrays) else None


def _pack(geometry: Geometry) -> np.ndarray:
    return np.array([*geometry.spacing_mm, *geometry.origin_mm, *geometry.direction])


def _unpack(numbers: np.ndarray) -> Geometry:
    values = tuple(numbers.tolist())
    return Geometry(values[:3], values[3:6], values[6:15])
