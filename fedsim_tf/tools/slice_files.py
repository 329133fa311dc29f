"""Annotated 2-D slices as 8-bit PNG files: read, checked and told apart from those of an earlier start."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from absl import logging
from PIL import Image

from fedsim_tf.data.case_files import index_files
from fedsim_tf.errors import InputError, Refusals, listed
from fedsim_tf.regions import LV, REGION_IDS

_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA")
MOST_VALUES = 32  # of a mask, one for each structure
_REGION_VALUES = "region ids 0 to 7 as values of grey or of a palette, for model.labels=regions"


class Slices(NamedTuple):
    """Pictures and the masks of the heart in them.

    Attributes:
      names: the files' names without suffix.
      images: (n, y, x) float32 in [-1, 1].
      masks: (n, y, x) float32, 0 or 1.
      regions: (n, y, x) uint8 region ids, where all masks hold such ids and some tell regions apart.
    """

    names: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray
    regions: np.ndarray | None = None

    @property
    def labels(self) -> np.ndarray:
        """Return (n, y, x): region ids where masks tell regions apart, else 0 and 1 of the heart."""
        return self.masks if self.regions is None else self.regions


def read_slices(
    images: str | os.PathLike, labels: str | os.PathLike, *, size: int, held_out: int, by_region: bool = False
) -> Slices:
    """Read 8-bit PNG files and the masks of the same names, reduced to size x size pixels.

    Masks without any heart are named in the log.

    Args:
      images: the folder of pictures.
      labels: the folder of masks, heart where not zero: the value of a grey or coloured one, the index of one with a
        palette. By region, that value is the region's id.
      size: pixels along each edge.
      held_out: how many pictures are not learnt from; there have to be more.
      by_region: whether masks have to tell regions apart.

    Raises:
      InputError: too few pictures, one without its mask or of another size, one of more than eight bits a value, or
        masks that are no masks, that are heart everywhere, or of which none shows a heart; by region, values other
        than 0 to 7 or masks of region 1 alone.
    """
    pictures, masks = find_png_files(images), find_png_files(labels)
    if not pictures:
        raise InputError(images, found="no PNG files", expected="slices as *.png")
    missing = [path.name for name, path in pictures.items() if name not in masks]
    if missing:
        found = f"no {listed(missing)}"
        raise InputError(labels, found=found, expected=f"a mask for each picture in {images}")
    if len(pictures) <= held_out:
        raise InputError("held_out", value=held_out, must=f"be less than the {len(pictures)} pictures in {images}")
    refusals, pairs = Refusals(labels), []
    for name, path in pictures.items():
        with refusals.each():
            pairs.append(_read_pair(path, masks[name], by_region=by_region))
    refusals.check()
    hearts = {masks[name].name: mask for name, (_, mask) in zip(pictures, pairs, strict=True)}
    _check_masks(hearts, labels)
    regions = list(hearts.values()) if by_region else _find_regions([masks[name] for name in pictures])
    if by_region and max(mask.max() for mask in hearts.values()) <= LV:
        raise InputError(labels, found="masks of region 1 alone", expected=_REGION_VALUES)
    reduced = [picture.resize((size, size), Image.Resampling.BOX) for picture, _ in pairs]
    return Slices(
        tuple(pictures),
        np.stack([np.asarray(picture, np.float32) / 127.5 - 1.0 for picture in reduced]),
        (_reduce(hearts.values(), size) > 0).astype(np.float32),
        None if regions is None else _reduce(regions, size),
    )


def _reduce(masks: Iterable[np.ndarray], size: int) -> np.ndarray:
    reduced = [Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST) for mask in masks]
    return np.stack([np.asarray(mask) for mask in reduced])


def _find_regions(paths: Iterable[pathlib.Path]) -> list[np.ndarray] | None:
    """Return the region ids (y, x) of masks, or None where values are no such ids or tell no regions apart."""
    try:
        regions = [_read_regions(path) for path in paths]
    except InputError:
        return None
    return regions if max(mask.max() for mask in regions) > LV else None


def find_png_files(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """Return the PNG files in a folder by their names without .png or .PNG; hidden files of macOS are left out.

    Raises:
      InputError: two files whose names differ in the ending alone.
    """
    folder = pathlib.Path(folder)
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    files = [path for path in found if path.suffix.lower() == ".png" and not path.name.startswith("._")]
    return index_files((path.stem, path) for path in files)


def digest_slices(slices: Slices, *, by_region: bool = False) -> dict[str, str]:
    """Return the SHA-256 of each picture with its mask of the heart, or of its regions, by name."""
    labels = slices.regions if by_region and slices.regions is not None else slices.masks
    pairs = zip(slices.names, slices.images, labels, strict=True)
    return {name: hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest() for name, image, mask in pairs}


def _check_masks(masks: Mapping[str, np.ndarray], labels: str | os.PathLike) -> None:
    """Refuse masks that are heart everywhere or nowhere, and name those of single slices without a heart."""
    full = [name for name, mask in masks.items() if mask.all()]
    if full:
        found = f"masks that are heart everywhere: {listed(full)}"
        raise InputError(labels, found=found, expected="0 outside the heart; heart and background may be swapped")
    empty = [name for name, mask in masks.items() if not mask.any()]
    if len(empty) == len(masks):
        raise InputError(labels, found="no heart in any mask", expected="a value other than 0 where the heart is")
    if empty:
        logging.warning("%s: %d of %d masks show no heart: %s", labels, len(empty), len(masks), listed(empty))


def _read_pair(picture: pathlib.Path, mask: pathlib.Path, *, by_region: bool) -> tuple[Image.Image, np.ndarray]:
    """Return a picture in grey, and its mask (y, x) as bool, or as region ids uint8."""
    grey, heart = _open(picture).convert("L"), (_read_regions if by_region else _read_mask)(mask)
    if grey.size != heart.shape[::-1]:
        raise InputError(mask, found=f"{heart.shape[::-1]} pixels", expected=f"{grey.size}, as its picture has")
    return grey, heart


def _read_mask(path: pathlib.Path) -> np.ndarray:
    """Return where a mask is not zero, in any channel but the opacity; a palette's colours mean nothing."""
    image = _open(path)
    if image.mode in ("LA", "RGB", "RGBA"):
        image = image.convert("L" if image.mode == "LA" else "RGB")
    values = np.asarray(image)
    colours = values.reshape(-1, values.shape[-1]) if values.ndim == 3 else values.reshape(-1, 1)
    distinct = len(np.unique(colours, axis=0))
    if distinct > MOST_VALUES:
        expected = f"at most {MOST_VALUES}: a soft edge has to be cut at one half"
        raise InputError(path, found=f"{distinct} different values, as of a picture or a soft mask", expected=expected)
    return values.any(axis=2) if values.ndim == 3 else values.astype(bool)


def _read_regions(path: pathlib.Path) -> np.ndarray:
    """Return the values of a mask (y, x), or its palette's indices, as region ids uint8."""
    image = _open(path)
    values = np.asarray(image).astype(np.uint8)
    if values.ndim == 3:
        raise InputError(path, found=f"a picture of mode {image.mode}", expected=_REGION_VALUES)
    unknown = sorted(set(np.unique(values).tolist()) - {0, *REGION_IDS})
    if unknown:
        raise InputError(path, found=f"values {listed(list(map(str, unknown)))}", expected=_REGION_VALUES)
    return values


def _open(path: pathlib.Path) -> Image.Image:
    """Return an 8-bit picture, read to its end."""
    try:
        image = Image.open(path)
        if image.mode not in _EIGHT_BIT:  # converting others cuts values off at 255
            raise InputError(path, found=f"a picture of mode {image.mode}", expected="an 8-bit PNG")
        image.load()
        return image
    except OSError as error:
        raise InputError(path, found=f"no picture ({error})", expected="an 8-bit PNG") from error
