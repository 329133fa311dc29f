"""Between this project's volumes and SimpleITK's images: both live in the LPS frame, nothing is turned or flipped."""

from __future__ import annotations

import SimpleITK as sitk

from fedsim_tf.volume import Geometry, Volume


def image_from(volume: Volume) -> sitk.Image:
    """A SimpleITK image with the volume's array and geometry."""
    image = sitk.GetImageFromArray(volume.array)
    image.SetSpacing(volume.geometry.spacing_mm)
    image.SetOrigin(volume.geometry.origin_mm)
    image.SetDirection(volume.geometry.direction)
    return image


def volume_from(image: sitk.Image) -> Volume:
    """A volume with the image's array and geometry."""
    return Volume(sitk.GetArrayFromImage(image), geometry_of(image))


def geometry_of(image: sitk.Image) -> Geometry:
    """Where the image's grid lies."""
    return Geometry(image.GetSpacing(), image.GetOrigin(), image.GetDirection())
