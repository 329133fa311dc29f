"""Tell tissues apart by CT values and label, and compare their CT values in synthetic and in real volumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from fedsim_tf.records.likeness_record import TissueComparison
from fedsim_tf.regions import REGIONS, is_whole_heart

TISSUES = ("heart", "lung", "soft tissue", "bone")
PLACES = ("body", "heart", "lung")  # where differences between voxels are measured
BODY_ABOVE_HU = -500.0  # between lung and soft tissue
SOFT_TISSUE_ABOVE_HU = -150.0  # fat and denser; voxels that are lung in part lie below
BONE_ABOVE_HU = 200.0  # ICRU spongiosa is at about 200 HU and above
NEAR_HEART = 0.05  # share of the edge: contrast agent leaves the labelled vessels, and would be taken for bone
TissueValues = Mapping[str, Sequence[np.ndarray]]  # by tissue, CT values in HU of each volume that has it


def tissue_masks(image_hu: np.ndarray, heart: np.ndarray) -> dict[str, np.ndarray]:
    """Return where the body and each tissue in it lie.

    The heart is the label. The body is the largest connected part that is denser than lung, with whatever it encloses
    slice by slice. Lung is air within the body. Bone is what is dense in the body and neither in nor next to the heart;
    soft tissue is what is neither as dense as bone nor as thin as lung there.

    Args:
      image_hu: (z, y, x) in HU.
      heart: (z, y, x), heart where above one half.

    Returns:
      Masks (z, y, x) bool by tissue, which do not overlap, and that of the body, which holds all but the heart.
    """
    heart = heart > 0.5
    solid = _largest_part(image_hu > BODY_ABOVE_HU)
    body = np.stack([ndimage.binary_fill_holes(part) for part in solid])
    near = ndimage.distance_transform_edt(~heart) <= NEAR_HEART * len(heart) if heart.any() else heart
    elsewhere = body & ~near
    return {
        "body": body,
        "heart": heart,
        "lung": body & (image_hu <= BODY_ABOVE_HU) & ~heart,
        "soft tissue": elsewhere & (image_hu > SOFT_TISSUE_ABOVE_HU) & (image_hu <= BONE_ABOVE_HU),
        "bone": elsewhere & (image_hu > BONE_ABOVE_HU),
    }


def region_masks(regions: np.ndarray | None) -> dict[str, np.ndarray]:
    """Return where each region of the heart lies, by short name; none where the label is a heart as a whole."""
    if regions is None or is_whole_heart(regions):
        return {}
    return {about.short_name: regions == region for region, about in REGIONS.items()}


def compare_tissues(real: TissueValues, synthetic: TissueValues) -> dict[str, TissueComparison]:
    """Return the comparison of CT values of each tissue that both real and synthetic volumes have."""
    from scipy.stats import wasserstein_distance  # here, as it takes a second and every run imports this module

    found = {}
    for tissue in real:
        if real[tissue] and synthetic.get(tissue):
            one, other = np.concatenate(real[tissue]), np.concatenate(synthetic[tissue])
            found[tissue] = TissueComparison(
                real_mean_hu=float(one.mean()),
                real_sd_hu=float(one.std()),
                synthetic_mean_hu=float(other.mean()),
                synthetic_sd_hu=float(other.std()),
                distance_hu=float(wasserstein_distance(one, other)),
                real_within_sd_hu=_sd_within(real[tissue]),
                synthetic_within_sd_hu=_sd_within(synthetic[tissue]),
            )
    return found


def _sd_within(values: Sequence[np.ndarray]) -> float:
    return float(np.mean([one.std() for one in values]))


def _largest_part(mask: np.ndarray) -> np.ndarray:
    """Return the largest connected part of a mask; an empty one as it is."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    return parts == 1 + int(np.argmax(sizes[1:]))
