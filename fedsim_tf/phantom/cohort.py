"""Phantom sites as folders of NIfTI, in the layout of the data sets for which they stand in."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from fedsim_tf.data.nifti import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest, file_digest, read_json, write_json, write_text
from fedsim_tf.phantom.sites import SITES, VERSION, SiteSpec, deal_hearts
from fedsim_tf.phantom.subjects import make_subject
from fedsim_tf.regions import MMWHS_VALUES, REGION_IDS, encode_regions
from fedsim_tf.shape.surfaces import CorrespondingShapes

Progress = Callable[[int, int, str], None]
FINISHED, RECIPE = "complete.json", "recipe.json"
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
    spec = _spec(name)
    hearts = file_digest(shapes_path) if shapes_path else None
    recipe = {"site": name, "version": VERSION, "spec": repr(spec), "shapes": hearts}
    folder = pathlib.Path(cache_root) / f"{name}-{digest(recipe)[:12]}"
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
    spec, root = _spec(name), pathlib.Path(root)
    if shapes is not None and set(shapes.region_id) != set(REGION_IDS):
        found = f"regions {', '.join(map(str, sorted(set(shapes.region_id))))}"
        raise InputError("shapes", found=found, expected="all seven, around which a chest is built")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _claim(root, {"site": name, "version": VERSION, "spec": repr(spec), "shapes": _shapes_digest(shapes)})
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


def _claim(root: pathlib.Path, recipe: dict[str, Any]) -> None:
    """Write the recipe into a new folder; refuse a folder whose files may be of another one, as they would be kept."""
    file = root / RECIPE
    if not file.exists():
        if any(root.glob("*.nii.gz")):
            raise InputError(root, found="files of unknown making", expected="an empty or new folder")
        write_json(file, recipe)
    elif read_json(file) != recipe:
        raise InputError(root, found="a cohort of another recipe", expected="the same one, or another folder")


def _shapes_digest(shapes: CorrespondingShapes | None) -> str | None:
    """Return a digest of the hearts alone: the subjects' names are no part of the recipe."""
    if shapes is None:
        return None
    arrays = (shapes.points, shapes.faces, shapes.region_id)
    return digest([hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays])


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


def _spec(name: str) -> SiteSpec:
    if name not in SITES:
        raise InputError("phantom site", found=repr(name), expected=f"one of {', '.join(SITES)}")
    return SITES[name]
