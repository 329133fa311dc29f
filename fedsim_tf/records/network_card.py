"""The card of an exported network (network.json, card.md): what it takes and gives, what it learnt from, its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

from fedsim_tf.arms import title
from fedsim_tf.records.generator_card import NO_DECISIONS, format_origin
from fedsim_tf.records.likeness_record import PerAxis
from fedsim_tf.records.versioned import Record

IMAGE, LOGITS, MASK = "image", "logits", "mask"  # the names of a network's input and outputs
AXES = ("volume", "z", "y", "x", "channel")  # of images and logits; masks have no channels
ORIENTATION = "LPS"
SAVED_MODEL, ONNX = "saved_model", "onnx"
NETWORK_FILES: Mapping[str, str] = {SAVED_MODEL: "saved_model", ONNX: "network.onnx"}  # by format, within the folder

_FEW_PATIENTS = (
    "The weights were learnt from few patients and may have memorised some of them: this is no protection of privacy."
)
_OTHER_SCANS = (
    "Other scanners, contrast phases, reconstructions and anatomies than those that it has learnt from were not tested."
)
_NOT_FOR = (
    NO_DECISIONS,
    "Masks that nobody looks at: it finds something in every volume, in one without a heart too.",
    "Testing another network in place of true labels.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a CT becomes the cube that a network takes; `data.preprocess.prepare` does it.

    Attributes:
      voxels: along each edge of the cube.
      window_hu: CT values that become -1 and 1; values beyond are clipped first.
      crop_mm: the edge of the cube around the heart; None where the cube is a CT's whole field of view.
      fields_of_view_mm: extents (x, y, z) like those of the CTs that it has learnt from; empty where not known.
      orientation: where the axes (x, y, z) point, as DICOM has it.
    """

    voxels: int
    window_hu: tuple[float, float]
    crop_mm: float | None = None
    fields_of_view_mm: tuple[PerAxis, ...] = ()
    orientation: str = ORIENTATION


@dataclasses.dataclass(frozen=True, kw_only=True)
class LearntFrom:
    """What a network has learnt from at its site.

    Attributes:
      annotated: real volumes with their labels that it was trained on.
      copies: deformed copies of these that it was trained on.
      synthetic: synthetic volumes that it was trained on.
      simulated_from: annotated and unannotated volumes that these were learnt from.
      validation: real volumes with labels by which its state was chosen.
      sites: all sites that learnt together; empty where it was this one alone.
    """

    annotated: int
    copies: int = 0
    synthetic: int = 0
    simulated_from: tuple[int, int] = (0, 0)
    validation: int = 0
    sites: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkCard(Record):
    """What an exported network is and what it needs to be used.

    Attributes:
      format: a key of `NETWORK_FILES`.
      arm: the arm that has trained it.
      data_set: the data set, or the site, that it has learnt from.
      phantom: whether phantoms stood in for patients.
      preparation: how a CT becomes its input.
      labels: the values of its masks and their meaning; of more than two, each has a channel of the logits, in order.
      learnt_from: numbers of volumes; None where the run has not noted them.
      scores: mean agreement (`metrics.Agreement`) with the test part's labels; None where there are no scores.
      region_dice: mean Dice in percent by region, where labels tell regions apart.
      tested: volumes in the test part.
      fedsim_tf, tensorflow: versions that it was made with.
      terms, limits, not_for: on what terms it may be used, what it cannot do, and what it must not be used for.
      axes: the axes of images and logits; masks have no channels.
    """

    REMEDY: ClassVar[str] = "export the network from its run again"

    format: str
    arm: str
    data_set: str
    phantom: bool
    preparation: Preparation
    labels: Mapping[int, str]
    learnt_from: LearntFrom | None = None
    scores: Mapping[str, float] | None = None
    region_dice: Mapping[str, float] | None = None
    tested: int | None = None
    fedsim_tf: str
    tensorflow: str
    terms: str
    limits: tuple[str, ...] = (_FEW_PATIENTS, _OTHER_SCANS)
    not_for: tuple[str, ...] = _NOT_FOR
    axes: tuple[str, ...] = AXES


def format_network_card(card: NetworkCard, *, example: str) -> str:
    """Return a card as a page of Markdown.

    Args:
      card: the card.
      example: Python that uses the network.
    """
    kind = "phantoms" if card.phantom else "patients"
    what = "the heart" if len(card.labels) == 2 else f"{len(card.labels) - 1} regions of the heart"
    learnt = f"{_format_learning(card)} ({card.data_set}, {kind})"
    lines = [
        f"# Segmentation of {what} in CT: {title(card.arm)}, {card.data_set}",
        "",
        f"A 3D U-Net in float32. From fedsim_tf {card.fedsim_tf}, after Li et al., Federated Simulation for Medical "
        "Imaging, MICCAI 2020.",
        "",
        *format_origin(learnt=learnt, scored=_format_scores(card), terms=card.terms, not_for=card.not_for),
        "## What it takes",
        "",
        *(f"{number}. {step}" for number, step in enumerate(_list_preparation(card.preparation), 1)),
        "",
        "## What it gives",
        "",
        *(f"- {one}" for one in _list_outputs(card)),
        "",
        "| value in masks | meaning |",
        "|---|---|",
        *(f"| {value} | {meaning} |" for value, meaning in card.labels.items()),
        "",
        "## Limits",
        "",
        *(f"- {one}" for one in card.limits),
        "",
        "## Use",
        "",
        "In this folder; fedsim_tf is not needed.",
        "",
        "```python",
        example.strip(),
        "```",
        "",
        "`sha256sum -c SHA256SUMS` checks the files.",
    ]
    return "\n".join(lines) + "\n"


def _format_learning(card: NetworkCard) -> str:
    learnt = card.learnt_from
    if learnt is None:
        return "volumes that the run has not noted"
    parts = []
    if learnt.synthetic:
        annotated, unannotated = learnt.simulated_from
        source = f"{annotated} annotated" + (f" and {unannotated} unannotated" if unannotated else "")
        parts.append(f"{learnt.synthetic} synthetic volumes, which were learnt from {source} volumes")
    if learnt.annotated:
        copies = f" and {learnt.copies} deformed copies of them" if learnt.copies else ""
        parts.append(f"{learnt.annotated} annotated volumes{copies}")
    text = ", then ".join(parts)
    if learnt.sites:
        text += f", together with the sites {', '.join(learnt.sites)}"
    return f"{text}; its state was chosen by {learnt.validation} others"


def _format_scores(card: NetworkCard) -> str:
    if card.scores is None:
        return "not known"
    found = f"Dice {card.scores['dice']:.1f} % and HD95 {card.scores['hd95_mm']:.1f} mm of the heart, "
    found += f"mean over {card.tested} test volumes of the same site"
    regions = [f"{name} {dice:.1f}" for name, dice in (card.region_dice or {}).items()]
    return found + (f"; Dice by region: {', '.join(regions)} %" if regions else "")


def _list_preparation(preparation: Preparation) -> list[str]:
    """Return the steps from a CT to the network's input as sentences."""
    n, (low, high) = preparation.voxels, preparation.window_hu
    extents = " or ".join(" x ".join(f"{mm:.0f}" for mm in one) for one in preparation.fields_of_view_mm)
    steps = [
        "A CT in HU. Its axes are permuted and flipped, never rotated, so that x points most closely to the patient's "
        f"left, y to the back and z to the head ({preparation.orientation} in DICOM).",
        f"Values are clipped to {low:g} to {high:g} HU and scaled linearly to -1 to 1.",
    ]
    if preparation.crop_mm is None:
        steps.append(
            f"The whole field of view is divided into {n} x {n} x {n} voxels, whatever its extent. CTs must show about "
            f"what those showed that it has learnt from, {extents or 'of an extent that is not known'} mm (x, y, z): "
            "crop or pad others to that, or masks will be wrong."
        )
    else:
        steps.append(
            f"A cube of {preparation.crop_mm:g} mm around the centre of the heart is divided into {n} x {n} x {n} "
            "voxels, with -1 where it reaches beyond the CT. Where the heart lies has to be known, to about 15 mm."
        )
    steps.append(
        "Interpolation is linear. Where voxels grow, a Gaussian goes before it along each axis, with a variance of "
        "(new / old spacing)^2 - 1 over (8 ln 2), in old voxels squared."
    )
    shape = f"(n, {n}, {n}, {n}, 1)"
    steps.append(
        f"The input `{IMAGE}` is float32 of shape {shape}: {', '.join(AXES)}. One volume at a time, or several."
    )
    return steps


def _list_outputs(card: NetworkCard) -> list[str]:
    n = card.preparation.voxels
    by_region = len(card.labels) > 2
    channels = len(card.labels) if by_region else 1
    if by_region:
        meaning = "a softmax over the channels gives the probability of each label, in the order of the table"
    else:
        meaning = "a sigmoid gives the probability of the heart"
    rule = "the value of the most probable label" if by_region else "1 where the logit is above 0"
    return [
        f"`{LOGITS}`: float32, (n, {n}, {n}, {n}, {channels}); {meaning}.",
        f"`{MASK}`: uint8, (n, {n}, {n}, {n}); {rule}. It lies on the cube: take the nearest voxel to bring it to the "
        "CT's grid.",
    ]
