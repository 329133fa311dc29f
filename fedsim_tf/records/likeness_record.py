"""How much an arm's synthetic volumes are like its site's real ones, measure by measure: a part of scores.json."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

PerAxis = tuple[float, float, float]  # along x, y and z


@dataclasses.dataclass(frozen=True)
class Pair:
    """One measure of the real and of the synthetic volumes."""

    real: float
    synthetic: float


@dataclasses.dataclass(frozen=True)
class TissueComparison:
    """CT values of a tissue in real and in synthetic volumes.

    Attributes:
      real_mean_hu, real_sd_hu, synthetic_mean_hu, synthetic_sd_hu: mean and standard deviation over all volumes'
        voxels, in HU.
      distance_hu: earth mover's distance of the two distributions in HU; a shift by s HU gives s.
      real_within_sd_hu, synthetic_within_sd_hu: the standard deviation within a volume, its mean over volumes, in HU;
        None in files from before it was measured.
    """

    real_mean_hu: float
    real_sd_hu: float
    synthetic_mean_hu: float
    synthetic_sd_hu: float
    distance_hu: float
    real_within_sd_hu: float | None = None
    synthetic_within_sd_hu: float | None = None


@dataclasses.dataclass(frozen=True)
class Differences:
    """Mean absolute differences between the CT values of voxels in a row, in HU per voxel of the network's grid.

    Attributes:
      first: |f(i + 1) - f(i)| along x, y and z.
      second: |f(i + 1) - 2 f(i) + f(i - 1)| along x, y and z.
    """

    first: PerAxis
    second: PerAxis


@dataclasses.dataclass(frozen=True)
class DifferenceComparison:
    """Differences between voxels in real and in synthetic volumes."""

    real: Differences
    synthetic: Differences


@dataclasses.dataclass(frozen=True)
class HeartVariety:
    """How much the hearts of a set of volumes vary, from their labels. Standard deviations are of a sample (n - 1).

    Attributes:
      volume_ml: mean volume.
      volume_sd: standard deviation of the volume as a share of the mean.
      place_sd_mm: root mean square distance of the centres of mass from their mean.
      axis_sd_degrees: root mean square angle between the long axes and their mean axis.
      pair_dice: mean Dice of two hearts of the set where they lie, in percent.
    """

    volume_ml: float
    volume_sd: float
    place_sd_mm: float
    axis_sd_degrees: float
    pair_dice: float


@dataclasses.dataclass(frozen=True)
class HeartComparison:
    """How much real and synthetic hearts vary."""

    real: HeartVariety
    synthetic: HeartVariety


@dataclasses.dataclass(frozen=True)
class Novelty:
    """Root mean square distances over the whole CT, in HU, between a volume and the nearest real one.

    Attributes:
      sample_to_real_hu, closest_sample_hu: mean and smallest over synthetic volumes.
      real_to_real_hu, closest_real_hu: mean and smallest over real volumes, each with the nearest other one.
    """

    sample_to_real_hu: float
    closest_sample_hu: float
    real_to_real_hu: float
    closest_real_hu: float


@dataclasses.dataclass(frozen=True)
class FeatureDistances:
    """Kernel distances between slices' VGG features: real to synthetic, and of one half of the real to the other."""

    real_to_synthetic: float
    real_to_real: float


@dataclasses.dataclass(frozen=True)
class ModeWeights:
    """Mean and standard deviation over hearts of each mode's weight, in standard deviations of the shape model.

    The standard deviation is of a sample (n - 1), and 0 of one heart; before version 3 it was of the whole (n).
    """

    mean: tuple[float, ...]
    sd: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class ShapeModes:
    """Weights of the shape model's modes in the annotated training volumes, as learnt, and in the samples."""

    learnt: ModeWeights
    sampled: ModeWeights


@dataclasses.dataclass(frozen=True)
class Likeness:
    """How much an arm's synthetic volumes are like the site's. What earlier files do not have is None.

    Attributes:
      tissues: by tissue, those that both kinds of volumes have.
      differences: differences between neighbouring voxels, by where these lie.
      hearts: how much hearts vary; None too where there are fewer than two of a kind.
      novelty: how near synthetic volumes come to real ones.
      planes: distances of VGG features, by the plane of the slices.
      shape_modes: None too where the arm's shapes were not learnt.
      upper_bound_dice: Dice in percent of the upper bound's network, on the test part and on synthetic volumes against
        their own labels; None too where the run has no such network.
    """

    tissues: Mapping[str, TissueComparison]
    differences: Mapping[str, DifferenceComparison] | None = None
    hearts: HeartComparison | None = None
    novelty: Novelty | None = None
    planes: Mapping[str, FeatureDistances] | None = None
    shape_modes: ShapeModes | None = None
    upper_bound_dice: Pair | None = None
