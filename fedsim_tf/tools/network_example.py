"""Python for an exported network's card: a CT is prepared, segmented and its mask brought back, without fedsim_tf."""

from __future__ import annotations

from fedsim_tf.records.network_card import IMAGE, MASK, NETWORK_FILES, ONNX, NetworkCard

# What differs by format: imports, and how the network is loaded and called.
_SAVED_MODEL = f"""
import tensorflow as tf
...
network = tf.saved_model.load("FILE").signatures["serving_default"]


def run(image):
    return network({IMAGE}=tf.constant(image))["{MASK}"].numpy()
"""
_ONNX = f"""
import onnxruntime
...
network = onnxruntime.InferenceSession("FILE")


def run(image):
    return network.run(["{MASK}"], {{"{IMAGE}": image}})[0]
"""
# What differs by the part of a CT that the network takes: arguments, the cube's spacing and corner, what is beyond.
_WHOLE = ("ct", "old * unit.GetSize() / EDGE", "unit.GetOrigin() + axes @ (new - old) / 2", "True")
_CROP = ("ct, heart_mm", "np.full(3, CROP_MM / EDGE)", "heart_mm - axes @ ((EDGE - 1) / 2 * new)", "False")
_PROGRAM = """
import numpy as np
import SimpleITK as sitk
IMPORTS

EDGE, LOW_HU, HIGH_HU = {edge}, {low}, {high}
LOAD


def prepare({arguments}):
    unit = sitk.Clamp(sitk.DICOMOrient(ct, "{orientation}"), sitk.sitkFloat32, LOW_HU, HIGH_HU)
    unit = (unit - LOW_HU) * (2 / (HIGH_HU - LOW_HU)) - 1
    old = np.array(unit.GetSpacing())
    new = {spacing}
    axes = np.reshape(unit.GetDirection(), (3, 3))
    variance = np.maximum((new / old) ** 2 - 1, 0) / (8 * np.log(2))
    unit = sitk.DiscreteGaussian(unit, variance.tolist(), 1000, 1e-3, False)
    first = {origin}
    grid = (first.tolist(), new.tolist(), unit.GetDirection())
    return sitk.Resample(unit, [EDGE] * 3, sitk.Transform(), sitk.sitkLinear, *grid, -1.0, sitk.sitkFloat32, {extends})


def segment({arguments}):
    cube = prepare({arguments})
    mask = sitk.GetImageFromArray(run(sitk.GetArrayFromImage(cube)[None, ..., None])[0])
    mask.CopyInformation(cube)
    return sitk.Resample(mask, ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)


if __name__ == "__main__":
    mask = segment(sitk.ReadImage("ct.nii.gz"){heart})
    sitk.WriteImage(mask, "mask.nii.gz")
"""
_HEART = ", np.array([0.0, 0.0, 0.0])"


def write_example(card: NetworkCard) -> str:
    """Return a program that segments a CT with an exported network, run in the network's folder."""
    preparation = card.preparation
    arguments, spacing, origin, extends = _WHOLE if preparation.crop_mm is None else _CROP
    text = _PROGRAM.format(
        edge=preparation.voxels,
        low=float(preparation.window_hu[0]),
        high=float(preparation.window_hu[1]),
        orientation=preparation.orientation,
        arguments=arguments,
        spacing=spacing,
        origin=origin,
        extends=extends,
        heart="" if preparation.crop_mm is None else _HEART,
    )
    imports, _, load = (_ONNX if card.format == ONNX else _SAVED_MODEL).strip().partition("\n...\n")
    load = load.replace("FILE", NETWORK_FILES[card.format])
    if preparation.crop_mm is not None:
        load = f"CROP_MM = {preparation.crop_mm}  # heart_mm: the heart's centre (x, y, z) in the patient\n{load}"
    return text.strip().replace("IMPORTS", imports).replace("LOAD", load) + "\n"
