"""Conversion between volumes and SimpleITK's images: both live in the LPS frame, nothing is turned or flipped."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from fedsim_tf.volume import Geometry, Volume


def volume_to_image(volume: Volume) -> sitk.Image:
    """Return a SimpleITK image with the volume's array and geometry."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def image_to_volume(image: sitk.Image) -> Volume:
    """Return a volume with the image's array and geometry."""
    return Volume(sitk.GetArrayFromImage(image), read_geometry(image))


def read_geometry(image: sitk.Image) -> Geometry:
    """Return where the image's grid lies."""
    return Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection())


def to_storable(array: np.ndarray) -> np.ndarray:
    """Return an array as a type that files have: booleans become uint8, half-precision floats float32."""
    stored = {np.dtype(bool): np.uint8, np.dtype(np.float16): np.float32}.get(array.dtype)
    return np.ascontiguousarray(array if stored is None else array.astype(stored))
