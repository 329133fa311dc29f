"""CT values of heart, lung and bone, by which synthetic volumes are compared with real ones."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from fedsim_tf.data.preprocess import hu_from_unit
from fedsim_tf.records.fold_scores import TissueComparison
from fedsim_tf.regions import REGIONS, is_whole_heart
from fedsim_tf.training.volumes import Volumes

TISSUES = ("heart", "lung", "bone")
BODY_ABOVE_HU = -500.0  # between lung and soft tissue
BONE_ABOVE_HU = 200.0  # ICRU spongiosa is at about 200 HU and above
NEAR_HEART = 0.05  # share of the edge: contrast agent leaves the labelled vessels, and would be taken for bone
Tissues = dict[str, np.ndarray]  # by tissue


def tissue_masks(image_hu: np.ndarray, heart: np.ndarray) -> Tissues:
    """Return where each tissue lies.

    The heart is the label. The body is the largest connected part that is denser than lung, with whatever it encloses
    slice by slice. Lung is air within the body. Bone is what is dense in the body and neither in nor next to the heart.

    Args:
      image_hu: (z, y, x) in HU.
      heart: (z, y, x), heart where above one half.

    Returns:
      Masks (z, y, x) bool by tissue; they do not overlap.
    """
    heart = heart > 0.5
    solid = _largest_part(image_hu > BODY_ABOVE_HU)
    body = np.stack([ndimage.binary_fill_holes(part) for part in solid])
    near = ndimage.distance_transform_edt(~heart) <= NEAR_HEART * len(heart) if heart.any() else heart
    return {
        "heart": heart,
        "lung": body & (image_hu <= BODY_ABOVE_HU) & ~heart,
        "bone": body & (image_hu > BONE_ABOVE_HU) & ~near,
    }


def tissue_values_hu(volumes: Volumes, window_hu: tuple[float, float]) -> Tissues:
    """Return the CT values in HU of all voxels of each tissue in all volumes; empty where there are none.

    Where volumes have regions, those of the heart are tissues too, by short name; hearts as a whole have none.
    """
    found: dict[str, list[np.ndarray]] = {tissue: [np.zeros(0, np.float32)] for tissue in TISSUES}
    for number, (image, label) in enumerate(zip(volumes.images, volumes.labels, strict=True)):
        image_hu = hu_from_unit(image, window_hu)
        for tissue, mask in tissue_masks(image_hu, label).items():
            found[tissue].append(image_hu[mask])
        if volumes.regions is not None and not is_whole_heart(volumes.regions[number]):
            for region, about in REGIONS.items():
                found.setdefault(about.short_name, []).append(image_hu[volumes.regions[number] == region])
    return {tissue: np.concatenate(parts) for tissue, parts in found.items()}


def compare_tissues(real: Tissues, synthetic: Tissues) -> dict[str, TissueComparison]:
    """Return the comparison of CT values of each tissue that both real and synthetic volumes have."""
    from scipy.stats import wasserstein_distance  # here, as it takes a second and every run imports this module

    return {
        tissue: TissueComparison(
            real_mean_hu=float(real[tissue].mean()),
            real_sd_hu=float(real[tissue].std()),
            synthetic_mean_hu=float(synthetic[tissue].mean()),
            synthetic_sd_hu=float(synthetic[tissue].std()),
            distance_hu=float(wasserstein_distance(real[tissue], synthetic[tissue])),
        )
        for tissue in real
        if tissue in synthetic and real[tissue].size and synthetic[tissue].size
    }


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask; an empty one as it is."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    return parts == 1 + int(np.argmax(sizes[1:]))
