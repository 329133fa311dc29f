"""The card of a generator (generator.json, card.md): what it was made from, what it scored, what it is not for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from fedsim_tf.arms import title
from fedsim_tf.records.likeness_record import PerAxis
from fedsim_tf.records.versioned import Record

# What the makers of a data set ask of those who use it, and what is made from it.
_TERMS: Mapping[str, str] = {
    "ct20": "MM-WHS: the terms that its participants agree to at registration.",
    "ct34lc": "CHD68: the terms of its page on Kaggle.",
    "ct34mc": "CHD68: the terms of its page on Kaggle.",
    "totalsegmentator": "TotalSegmentator: CC BY 4.0; name its authors.",
}
_OWN_TERMS = "The owner of the scans decides who may have what was learnt from them."
_PHANTOM_TERMS = "Phantoms stand in for patients: Apache-2.0, as fedsim_tf."
_FEW_PATIENTS = (
    "Weights and the distribution of latents were learnt from few patients and may have memorised some of them. The "
    "folder has no patient's image, label, latent or name, but it is no protection of privacy."
)
_AS_PATIENTS = (
    "Volumes vary as the training patients did, in one scanner's field of view; other anatomies, phases and devices do "
    "not appear."
)
_CHANGED = (
    "Volumes vary as the training patients did, in one scanner's field of view; then each heart is changed at random, "
    "in the shape model's modes and in its pose, by standard deviations (changes.npz) of which those of the pose were "
    "measured over the annotated hearts. Other phases and devices do not appear."
)
_BY_SLICE = "The enhancement network works slice by slice: neighbouring slices may not fit together."
NO_DECISIONS = "Diagnosis, treatment or any other decision about a patient."
_NOT_FOR = (
    NO_DECISIONS,
    "Testing a network that is to be used on patients, in place of real scans.",
    "Passing synthetic volumes on as real ones.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GeneratorCard(Record):
    """What a generator is and what it needs to be built.

    Attributes:
      arm: the arm whose volumes it makes.
      data_set: the data set, or the site, that it has learnt from.
      phantom: whether phantoms stood in for patients.
      annotated, unannotated: volumes that it has learnt from with and without their labels, at this site.
      sites: all sites that learnt shape and material together; empty where it was this one alone.
      field_of_view_mm: extent (x, y, z) of its volumes.
      settings: fields of the configuration by section: sizes, scanner and CT window; with "plus" where the generator
        changes hearts as Ours-Plus does.
      scores: mean agreement (`metrics.Agreement`) of a segmentation network that learnt from its volumes with the test
        part's labels; None where it is not known.
      tested: volumes in that test part.
      fedsim_tf, tensorflow: versions that it was made with.
      terms, limits, not_for: on what terms it may be used, what it cannot do, and what it must not be used for.
    """

    # 2: settings may have "plus"; hearts are changed then, and the folder has changes.npz.
    # 3: "plus" says whether maps are interpolated in the network for volumes; before they never were.
    VERSION: ClassVar[int] = 3
    REMEDY: ClassVar[str] = "take the generator from its run again"

    arm: str
    data_set: str
    phantom: bool
    annotated: int
    unannotated: int
    sites: tuple[str, ...] = ()
    field_of_view_mm: PerAxis
    settings: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, float] | None = None
    tested: int | None = None
    fedsim_tf: str
    tensorflow: str
    terms: str
    limits: tuple[str, ...] = (_FEW_PATIENTS, _AS_PATIENTS, _BY_SLICE)
    not_for: tuple[str, ...] = _NOT_FOR

    @property
    def changes_hearts(self) -> bool:
        """Whether hearts are changed beyond what latents have learnt, as Ours-Plus does."""
        return "plus" in self.settings


def list_limits(*, changes_hearts: bool, whole_volumes: bool) -> tuple[str, ...]:
    """Return what a generator cannot do.

    Args:
      changes_hearts: whether hearts are changed beyond what latents have learnt.
      whole_volumes: whether the enhancement network sees whole volumes instead of slices.
    """
    limits = (_FEW_PATIENTS, _CHANGED if changes_hearts else _AS_PATIENTS)
    return limits if whole_volumes else (*limits, _BY_SLICE)


def find_terms(data_set: str, *, phantom: bool, sites: Sequence[str] = ()) -> str:
    """Return on what terms one may use what has learnt from a data set, or from those of several sites."""
    if phantom:
        return _PHANTOM_TERMS
    own = _TERMS.get(data_set, _OWN_TERMS)
    return f"{own} The owners at {', '.join(sites)} have a say too." if sites else own


def format_card(card: GeneratorCard) -> str:
    """Return a card as a page of Markdown."""
    model, kind = card.settings["model"], "phantoms" if card.phantom else "patients"
    size, labels = (
        model["size"],
        "the heart" if model["labels"] == "heart" else "seven regions of the heart (ids 1 to 7)",
    )
    extent = " x ".join(f"{mm:.0f}" for mm in card.field_of_view_mm)
    learnt = f"{card.annotated} annotated and {card.unannotated} unannotated volumes of {card.data_set} ({kind})"
    if card.sites:
        learnt += f"; shape and material together with the sites {', '.join(card.sites)}"
    lines = [
        f"# Generator of synthetic cardiac CT: {title(card.arm)}, {card.data_set}",
        "",
        f"Makes CTs of {size} x {size} x {size} voxels, {extent} mm, with labels of {labels}. From fedsim_tf "
        f"{card.fedsim_tf}, after Li et al., Federated Simulation for Medical Imaging, MICCAI 2020.",
        "",
        *format_origin(learnt=learnt, scored=_format_scores(card), terms=card.terms, not_for=card.not_for),
        "## Limits",
        "",
        *(f"- {one}" for one in card.limits),
        "",
        "## Use",
        "",
        "    python -m experiments.sample --generator=THIS_FOLDER --count=100 --output=DIR",
        "",
        "`sha256sum -c SHA256SUMS` checks the files.",
    ]
    return "\n".join(lines) + "\n"


def format_origin(*, learnt: str, scored: str, terms: str, not_for: Sequence[str]) -> list[str]:
    """Return the lines of a card that say what was learnt from, how it scored, and what it must not be used for."""
    return [
        f"- Learnt from: {learnt}.",
        f"- Scored: {scored}.",
        f"- Terms: {terms}",
        "",
        "## What it must not be used for",
        "",
        *(f"- {one}" for one in not_for),
        "",
    ]


def _format_scores(card: GeneratorCard) -> str:
    if card.scores is None:
        return "not known"
    dice, hd95_mm = card.scores["dice"], card.scores["hd95_mm"]
    found = f"Dice {dice:.1f} % and HD95 {hd95_mm:.1f} mm on {card.tested} test volumes of the same site"
    return f"a segmentation network that learnt from its volumes has {found}"
