"""Segmentations of 3D Slicer (.seg.nrrd): the header names the segments, their values and their layers."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.formats import NRRD_SUFFIXES, has_suffix
from fedsim_tf.data.grid_places import paste_on_grid
from fedsim_tf.data.images import read_geometry
from fedsim_tf.data.research_files import open_research_file
from fedsim_tf.data.structures import Structures, has_heart
from fedsim_tf.data.text_headers import read_text_header
from fedsim_tf.errors import InputError, listed
from fedsim_tf.volume import Volume

_NAME = re.compile(r"segment(\d+)_name")
_UNNAMED = re.compile(r"segment(ation)?[ _]?\d*", re.IGNORECASE)  # as Slicer names a new one


def open_slicer_segments(path: pathlib.Path, image: Volume) -> Structures | None:
    """Return the segments of a file on its image's grid, or None where its values have to speak for themselves.

    They do in a plain NRRD file, and where a single segment was never given a name. Segments may overlap, in layers.

    Raises:
      InputError: a damaged file, a layer that is not there, or a grid that is no part of the image's.
    """
    if not has_suffix(path, NRRD_SUFFIXES):
        return None
    fields = read_text_header(path).fields
    numbers = sorted(int(match.group(1)) for match in map(_NAME.fullmatch, fields) if match)
    names = tuple((fields[f"segment{number}_name"],) for number in numbers)
    if not names or (len(names) == 1 and _UNNAMED.fullmatch(names[0][0])):
        return None
    if not has_heart(names):
        shown = listed([name for (name,) in names])
        raise InputError(path, found=f"no heart among the segments {shown}", expected="a segment named Heart")
    layers, place = _read_layers(path)
    values = [int(fields.get(f"segment{number}_labelvalue", "1")) for number in numbers]
    layer_of = [int(fields.get(f"segment{number}_layer", str(k))) for k, number in enumerate(numbers)]
    if max(layer_of) >= layers.shape[-1]:
        found = f"{layers.shape[-1]} layers where its header names layer {max(layer_of)}"
        raise InputError(path, found=found, expected="a whole segmentation of 3D Slicer")

    def draw(index: int) -> np.ndarray:
        mask = layers[..., layer_of[index]] == values[index]
        return paste_on_grid(place.with_array(mask), image, path)

    return Structures(names, draw)


def _read_layers(path: pathlib.Path) -> tuple[np.ndarray, Volume]:
    """Return the layers (z, y, x, n), and a volume in their place."""
    image, _ = open_research_file(path, layers=True)
    array = sitk.GetArrayFromImage(image)
    layers = array if array.ndim == 4 else array[..., np.newaxis]
    return layers, Volume(layers[..., 0], read_geometry(image))
