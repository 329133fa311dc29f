"""Annotated 2-D slices as 8-bit PNG files: read, checked and told apart from those of an earlier start."""

from __future__ import annotations

import hashlib
import os
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from fedsim_tf.errors import InputError

_EIGHT_BIT = ("1", "L", "LA", "P", "RGB", "RGBA")


class Slices(NamedTuple):
    """Pictures and the masks of the heart in them.

    Attributes:
      names: the files' names without suffix.
      images: (n, y, x) float32 in [-1, 1].
      masks: (n, y, x) float32, 0 or 1.
    """

    names: tuple[str, ...]
    images: np.ndarray
    masks: np.ndarray


def read_slices(images: str | os.PathLike, labels: str | os.PathLike, *, size: int, held_out: int) -> Slices:
    """Read 8-bit PNG files and the masks of the same names, reduced to size x size pixels.

    Args:
      images: the folder of pictures.
      labels: the folder of masks, heart where not zero.
      size: pixels along each edge.
      held_out: how many pictures are not learnt from; there have to be more.

    Raises:
      InputError: too few pictures, one without its mask or of another size, or one of more than eight bits a value.
    """
    files = sorted(path for path in pathlib.Path(images).glob("*.png") if not path.name.startswith("._"))
    if not files:
        raise InputError(images, found="no PNG files", expected="slices as *.png")
    missing = [path.name for path in files if not (pathlib.Path(labels) / path.name).is_file()]
    if missing:
        raise InputError(labels, found=f"no {missing[0]}", expected=f"a mask for each picture in {images}")
    if len(files) <= held_out:
        raise InputError("held_out", value=held_out, must=f"be less than the {len(files)} pictures in {images}")
    pairs = [_read_pair(path, pathlib.Path(labels) / path.name) for path in files]
    pictures = [picture.resize((size, size), Image.Resampling.BOX) for picture, _ in pairs]
    masks = [mask.resize((size, size), Image.Resampling.NEAREST) for _, mask in pairs]
    return Slices(
        tuple(path.stem for path in files),
        np.stack([np.asarray(picture, np.float32) / 127.5 - 1.0 for picture in pictures]),
        np.stack([np.asarray(mask) > 0 for mask in masks]).astype(np.float32),
    )


def digest_slices(slices: Slices) -> dict[str, str]:
    """Return the SHA-256 of each picture with its mask, by name."""
    pairs = zip(slices.names, slices.images, slices.masks, strict=True)
    return {name: hashlib.sha256(image.tobytes() + mask.tobytes()).hexdigest() for name, image, mask in pairs}


def _read_pair(picture: pathlib.Path, mask: pathlib.Path) -> tuple[Image.Image, Image.Image]:
    pair = _read_grey(picture), _read_grey(mask)
    if pair[0].size != pair[1].size:
        raise InputError(mask, found=f"{pair[1].size} pixels", expected=f"{pair[0].size}, as its picture has")
    return pair


def _read_grey(path: pathlib.Path) -> Image.Image:
    try:
        image = Image.open(path)
        if image.mode not in _EIGHT_BIT:  # converting others cuts values off at 255
            raise InputError(path, found=f"a picture of mode {image.mode}", expected="an 8-bit PNG")
        return image.convert("L")
    except OSError as error:
        raise InputError(path, found=f"no picture ({error})", expected="an 8-bit PNG") from error
