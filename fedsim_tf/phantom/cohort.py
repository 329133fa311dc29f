"""Phantom sites as folders of NIfTI in the layout of the data sets that they stand in for."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from absl import logging

from fedsim_tf.data.nifti import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest, file_digest, read_json, write_json, write_text
from fedsim_tf.phantom.hearts import ADULTS, CHILDREN, YOUNG_ADULTS, draw_hearts
from fedsim_tf.phantom.site_scanner import SiteScanner
from fedsim_tf.phantom.subjects import SiteSpec, make_subject
from fedsim_tf.regions import MMWHS_VALUES, REGION_IDS, encode_regions
from fedsim_tf.shape.surfaces import CorrespondingShapes

Progress = Callable[[int, int, str], None]
VERSION = 6  # of the phantom: another number makes cached cohorts again
FINISHED, RECIPE = "complete.json", "recipe.json"
_THREADS = 2
_MODEL_SEED = 7_000_000  # hearts of the shape model: far from every site's

_ARTERIAL = SiteScanner(330.0, 0.35, 150.0, 80.0, 105.0, 0.75, 0.9, 3e4, 0.9, 120.0, 0.0, 265.0, 205.0)
_BIPHASIC = SiteScanner(280.0, 0.35, 280.0, 100.0, 110.0, 0.65, 0.7, 2.5e4, 0.7, 80.0, 20.0, 285.0, 205.0)
_LATE = SiteScanner(210.0, 0.3, 190.0, 50.0, 98.0, 1.0, 1.4, 1.5e4, 1.2, 120.0, -20.0, 325.0, 210.0, flipped=True)
SITES = {
    "ct20": SiteSpec(20, ADULTS, _ARTERIAL, seed=20, deformation_mm=2.5),
    "ct34lc": SiteSpec(34, CHILDREN, _BIPHASIC, seed=341, deformation_mm=3.0, tilt_rad=0.4),
    "ct34mc": SiteSpec(34, YOUNG_ADULTS, _LATE, seed=342, deformation_mm=4.0),
}
_FIRST_NUMBER = {"ct20": 1001, "ct34lc": 1001, "ct34mc": 1035}


def model_hearts(n: int = 40) -> CorrespondingShapes:
    """Hearts for a shape model: adults and children in turn, none of them a subject of any site."""
    parts = [draw_hearts(population, n // 2, seed=_MODEL_SEED + i) for i, population in enumerate((ADULTS, CHILDREN))]
    return CorrespondingShapes(np.concatenate([part.points for part in parts]), parts[0].faces, parts[0].region_id)


def ensure_site(
    name: str,
    cache_root: str | os.PathLike,
    *,
    shapes_path: str | os.PathLike | None = None,
    progress: Progress | None = None,
) -> pathlib.Path:
    """The folder of a phantom site, written if it is not there yet; an interrupted writing goes on where it stopped.

    Args:
      name: "ct20", "ct34lc" or "ct34mc".
      cache_root: where phantom sites are kept.
      shapes_path: corresponding shapes (.npz) to use instead of phantom hearts, each at one site alone; see `dealt`.
      progress: called after each subject with the number done, the number wanted and the identity.
    """
    spec = _spec(name)
    hearts = file_digest(shapes_path) if shapes_path else None
    recipe = {"site": name, "version": VERSION, "spec": repr(spec), "shapes": hearts}
    folder = pathlib.Path(cache_root) / f"{name}-{digest(recipe)[:12]}"
    finished = folder / FINISHED
    if not finished.exists():
        shapes = dealt(CorrespondingShapes.load(shapes_path), name) if shapes_path else None
        write_site(name, folder, shapes=shapes, progress=progress)
        write_json(finished, recipe)
    elif read_json(finished) != recipe:
        raise InputError(finished, found="another recipe", expected="the one that its folder is named after")
    return folder


def dealt(shapes: CorrespondingShapes, site: str) -> CorrespondingShapes | None:
    """The given hearts that belong to a site: the first 20 are CT20's, the next 34 CT34 LC's, the next CT34 MC's.

    A heart at two sites would be learnt from at one and tested at the other. Returns None where none is left.
    """
    points = _dealt_points(shapes, site)
    logging.info("Phantom site %s: %d of its %d hearts are given ones", site, len(points), SITES[site].n_subjects)
    return dataclasses.replace(shapes, points=points, subjects=()) if len(points) else None


def n_dealt(shapes_path: str | os.PathLike, site: str) -> int:
    """How many of a site's hearts are those of a file of corresponding shapes; see `dealt`."""
    return len(_dealt_points(CorrespondingShapes.load(shapes_path), site))


def _dealt_points(shapes: CorrespondingShapes, site: str) -> np.ndarray:
    names = list(SITES)
    first = sum(SITES[name].n_subjects for name in names[: names.index(site)])
    return shapes.points[first : first + SITES[site].n_subjects]


def write_site(
    name: str,
    root: str | os.PathLike,
    *,
    shapes: CorrespondingShapes | None = None,
    progress: Progress | None = None,
) -> None:
    """Writes a phantom site as NIfTI: ct20 as MM-WHS lays it out, ct34lc and ct34mc as CHD68 does.

    Files that are there already, of the same recipe, are kept. Subject i gets shape i of `shapes`, later ones phantom
    hearts.

    Args:
      name: "ct20", "ct34lc" or "ct34mc".
      root: the folder.
      shapes: hearts in patient axes (LPS) to use instead of phantom ones.
      progress: see `ensure_site`.

    Raises:
      InputError: an unknown site, hearts without all seven regions, or a folder that cannot be written or has others.
    """
    spec, root = _spec(name), pathlib.Path(root)
    if shapes is not None and set(shapes.region_id) != set(REGION_IDS):
        found = f"regions {', '.join(map(str, sorted(set(shapes.region_id))))}"
        raise InputError("shapes", found=found, expected="all seven, around which a chest is built")
    try:
        root.mkdir(parents=True, exist_ok=True)
        _claim(root, {"site": name, "version": VERSION, "spec": repr(spec), "shapes": _digest(shapes)})
        if name != "ct20":
            write_text(root / "division.csv", _division())
    except OSError as error:
        raise InputError(root, found=error.strerror, expected="a folder that can be written") from None

    def write(number: int) -> str:
        identity = identity_of(name, number)
        image, label = root / f"{identity}_image.nii.gz", root / f"{identity}_label.nii.gz"
        if not (image.exists() and label.exists()):
            case = make_subject(spec, number, identity, shapes)
            regions = case.label
            write_volume(regions.with_array(_stored(name, regions.array)), label)  # type: ignore[union-attr]
            write_volume(case.image, image)
        return identity

    with ThreadPoolExecutor(_THREADS) as pool:
        for done, identity in enumerate(pool.map(write, range(spec.n_subjects)), 1):
            if progress is not None:
                progress(done, spec.n_subjects, identity)


def _claim(root: pathlib.Path, recipe: dict[str, Any]) -> None:
    """Refuses a folder with files of another recipe, or of an unknown one: the rest would be of this one."""
    file = root / RECIPE
    if not file.exists():
        if any(root.glob("*.nii.gz")):
            raise InputError(root, found="files of unknown making", expected="an empty or new folder")
        write_json(file, recipe)
    elif read_json(file) != recipe:
        raise InputError(root, found="a cohort of another recipe", expected="the same one, or another folder")


def _digest(shapes: CorrespondingShapes | None) -> str | None:
    """Of the hearts that were given."""
    if shapes is None:
        return None
    arrays = (shapes.points, shapes.faces, shapes.region_id)
    return digest([hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays])


def identity_of(name: str, number: int) -> str:
    """The file name's beginning of subject `number`, from 0."""
    return f"{'ct_train' if name == 'ct20' else 'ct'}_{_FIRST_NUMBER[name] + number}"


def _stored(name: str, regions: np.ndarray) -> np.ndarray:
    """Region ids as the data set's own label values."""
    return encode_regions(regions, MMWHS_VALUES) if name == "ct20" else regions


def _division() -> str:
    """Which patient of the two CHD68 sites belongs to which."""
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
