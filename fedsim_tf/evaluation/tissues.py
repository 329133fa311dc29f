"""CT values of heart, lung and bone, by which synthetic volumes are held against real ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage
from scipy.stats import wasserstein_distance

from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.training.volumes import Volumes

TISSUES = ("heart", "lung", "bone")
BODY_ABOVE_HU = -500.0  # between lung and soft tissue
BONE_ABOVE_HU = 200.0  # ICRU spongiosa is at about 200 HU and above
NEAR_HEART = 0.05  # of the edge: contrast agent leaves the labelled vessels, and would be taken for bone
Tissues = dict[str, np.ndarray]


def tissue_masks(image_hu: np.ndarray, heart: np.ndarray) -> Tissues:
    """Where each tissue lies.

    The heart is the label. Lung is air within the body, and the body the largest thing denser than lung with whatever
    it encloses slice by slice. Bone is what is dense in the body and neither in nor next to the heart.

    Args:
      image_hu: (z, y, x) in HU; heart: (z, y, x), heart where positive.

    Returns:
      Tissue to mask (z, y, x) bool; the masks do not overlap.
    """
    heart = heart > 0.5
    solid = _largest(image_hu > BODY_ABOVE_HU)
    body = np.stack([ndimage.binary_fill_holes(part) for part in solid])
    near = ndimage.distance_transform_edt(~heart) <= NEAR_HEART * len(heart) if heart.any() else heart
    return {
        "heart": heart,
        "lung": body & (image_hu <= BODY_ABOVE_HU) & ~heart,
        "bone": body & (image_hu > BONE_ABOVE_HU) & ~near,
    }


def tissue_values_hu(volumes: Volumes, window_hu: tuple[float, float]) -> Tissues:
    """Tissue to the CT values in HU of all its voxels in all volumes; empty where there are none."""
    found: dict[str, list[np.ndarray]] = {tissue: [np.zeros(0, np.float32)] for tissue in TISSUES}
    for image, label in zip(volumes.images, volumes.labels, strict=True):
        image_hu = hu_from_unit(image, window_hu)
        for tissue, mask in tissue_masks(image_hu, label).items():
            found[tissue].append(image_hu[mask])
    return {tissue: np.concatenate(parts) for tissue, parts in found.items()}


def compare_tissues(real: Tissues, synthetic: Tissues) -> dict[str, dict[str, float]]:
    """For each tissue that both have: means and standard deviations, and how far the distributions lie apart.

    Returns:
      Tissue to `real_mean_hu`, `real_sd_hu`, `synthetic_mean_hu`, `synthetic_sd_hu` and `distance_hu`: the earth
      mover's distance in HU (0: the same distribution; a shift by s HU: s).
    """
    return {
        tissue: {
            **_moments("real", real[tissue]),
            **_moments("synthetic", synthetic[tissue]),
            "distance_hu": float(wasserstein_distance(real[tissue], synthetic[tissue])),
        }
        for tissue in TISSUES
        if real[tissue].size and synthetic[tissue].size
    }


def _moments(name: str, values_hu: np.ndarray) -> Mapping[str, float]:
    return {f"{name}_mean_hu": float(values_hu.mean()), f"{name}_sd_hu": float(values_hu.std())}


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask; all of an empty one."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    return parts == 1 + int(np.argmax(sizes[1:]))
