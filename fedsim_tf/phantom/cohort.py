"""Phantom sites as folders of NIfTI, in the layout of the data sets for which they stand in."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fedsim_tf.data.writing import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json, write_text
from fedsim_tf.phantom.claim import RECIPE, check_claim, write_recipe
from fedsim_tf.phantom.sites import (
    FINISHED,
    SITES,
    cache_recipe,
    cached_folder,
    deal_hearts,
    find_spec,
)
from fedsim_tf.phantom.subjects import make_subject
from fedsim_tf.regions import MMWHS_VALUES, encode_regions
from fedsim_tf.shape.surfaces import CorrespondingShapes

Progress = Callable[[int, int, str], None]
_THREADS = 2
_FIRST_NUMBER = {"ct20": 1001, "ct34lc": 1001, "ct34mc": 1035}


def ensure_site(
    name: str,
    cache_root: str | os.PathLike,
    *,
    shapes_path: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> pathlib.Path:
    """Return the folder of a phantom site, and write it first where it is missing or was left unfinished.

    Args:
      name: "ct20", "ct34lc" or "ct34mc".
      cache_root: folder in which phantom sites are kept.
      shapes_path: corresponding shapes (.npz) to use instead of phantom hearts, each at one site alone; see
        `fedsim_tf.phantom.sites.deal_hearts`.
      progress: called after each subject with the number done, the number wanted and the identity.

    Raises:
      InputError: an unknown site, a file of shapes that cannot be used, or a folder of another recipe.
    """
    recipe, folder = cache_recipe(name, shapes_path), cached_folder(name, cache_root, shapes_path)
    finished = folder / FINISHED
    if not finished.exists():
        shapes = deal_hearts(CorrespondingShapes.load(shapes_path), name) if shapes_path else None
        write_site(name, folder, shapes=shapes, progress=progress)
        write_json(finished, recipe)
    elif read_json(finished) != recipe:
        raise InputError(finished, found="another recipe", expected="the one that its folder is named after")
    return folder


def write_site(
    name: str,
    root: str | os.PathLike,
    *,
    shapes: CorrespondingShapes | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a phantom site as NIfTI: ct20 as MM-WHS lays it out, ct34lc and ct34mc as CHD68 does.

    Files of the same recipe that are there already are kept. Subject k gets shape k of `shapes`; the subjects beyond
    them have phantom hearts.

    Args:
      name: "ct20", "ct34lc" or "ct34mc".
      root: folder to write to.
      shapes: hearts in patient axes (LPS) to use instead of phantom ones.
      progress: see `ensure_site`.

    Raises:
      InputError: an unknown site, hearts without all seven regions, a folder that cannot be written, or one with files
        of another recipe.
    """
    spec, root = find_spec(name), pathlib.Path(root)
    try:
        recipe = write_recipe(name, shapes)
        check_claim(root, recipe)
        root.mkdir(parents=True, exist_ok=True)
        write_json(root / RECIPE, recipe)
        if name != "ct20":
            write_text(root / "division.csv", _division())
    except OSError as error:
        raise InputError(root, found=error.strerror, expected="a folder that can be written") from None

    def write(number: int) -> str:
        identity = _identity(name, number)
        image, label = root / f"{identity}_image.nii.gz", root / f"{identity}_label.nii.gz"
        if not (image.exists() and label.exists()):
            case = make_subject(spec, number, identity, shapes)
            regions = case.label
            write_volume(regions.with_array(_label_values(name, regions.array)), label)  # type: ignore[union-attr]
            write_volume(case.image, image)
        return identity

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, identity in enumerate(pool.map(write, range(spec.n_subjects)), 1):
            if progress is not None:
                progress(done, spec.n_subjects, identity)


def _identity(name: str, number: int) -> str:
    """Return the beginning of a subject's file names; subjects count from 0."""
    return f"{'ct_train' if name == 'ct20' else 'ct'}_{_FIRST_NUMBER[name] + number}"


def _label_values(name: str, regions: np.ndarray) -> np.ndarray:
    """Return region ids as the values that the data set uses for them."""
    return encode_regions(regions, MMWHS_VALUES) if name == "ct20" else regions


def _division() -> str:
    """Return a CSV that says which patient of the two CHD68 sites belongs to which."""
    rows = [
        f"{_FIRST_NUMBER[name] + number},{name}"
        for name in ("ct34lc", "ct34mc")
        for number in range(SITES[name].n_subjects)
    ]
    return "\n".join(["# phantom cohort", "id,site", *rows]) + "\n"
