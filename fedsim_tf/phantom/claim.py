"""The folder of a phantom site, checked before it is written: this module does not import TensorFlow."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_json, read_json
from fedsim_tf.phantom.sites import VERSION, find_spec
from fedsim_tf.regions import REGION_IDS
from fedsim_tf.shape.surfaces import CorrespondingShapes

RECIPE = "recipe.json"


def open_shapes_for(
    site: str, folder: str | os.PathLike, shapes_path: str | os.PathLike | None
) -> CorrespondingShapes | None:
    """Open the hearts that a phantom site is given, if any, and check the folder that it goes to. Nothing is written.

    Raises:
      InputError: a file that is no corresponding shapes, hearts without all seven regions, or a folder that cannot be
        written or has files of another recipe.
    """
    shapes = CorrespondingShapes.load(shapes_path) if shapes_path else None
    check_claim(pathlib.Path(folder), write_recipe(site, shapes))
    return shapes


def write_recipe(site: str, shapes: CorrespondingShapes | None) -> dict[str, Any]:
    """Return all that decides what the files of a phantom site are like.

    Raises:
      InputError: an unknown site, or hearts without all seven regions, around which no chest can be built.
    """
    spec = find_spec(site)
    if shapes is not None and set(shapes.region_id) != set(REGION_IDS):
        found = f"regions {', '.join(map(str, sorted(set(shapes.region_id))))}"
        raise InputError("shapes", found=found, expected="all seven, around which a chest is built")
    return {"site": site, "version": VERSION, "spec": repr(spec), "shapes": _shapes_digest(shapes)}


def check_claim(folder: pathlib.Path, recipe: dict[str, Any]) -> None:
    """Refuse a folder whose files may be of another recipe, as they would be kept.

    Raises:
      InputError: files of another or an unknown recipe, or a folder that cannot be written.
    """
    existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(folder, found="no folder that can be written", expected="a folder that can be written")
    file = folder / RECIPE
    if not file.exists():
        if any(folder.glob("*.nii.gz")):
            raise InputError(folder, found="files of an unknown recipe", expected="an empty or new folder")
    elif read_json(file) != recipe:
        raise InputError(folder, found="a cohort of another recipe", expected="the same one, or another folder")


def _shapes_digest(shapes: CorrespondingShapes | None) -> str | None:
    """Return a digest of the hearts that were given."""
    if shapes is None:
        return None
    arrays = (shapes.points, shapes.faces, shapes.region_id)
    return digest_json([hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in arrays])
