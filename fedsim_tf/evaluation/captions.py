"""What the pictures in a run's folder show, in words for readers who do not know the method."""

from __future__ import annotations

import pathlib

from fedsim_tf import arms

SEGMENTATIONS, LOSSES, SAMPLES = "segmentations", "losses", "samples"
HEARTS, LIKENESS = "hearts", "likeness"
_TEXTS = {
    SEGMENTATIONS: (
        "Test patients, in the axial slice in which the heart is largest. First column: the CT alone. The others: what "
        "each arm's network found, in red, over the heart's label, in green. Where labels tell the heart's regions "
        "apart, regions are in the legend's colours and the label has a column of its own."
    ),
    LOSSES: (
        "What each stage of training minimises, step by step, as a share of its value at the start. A curve that falls "
        "and becomes flat has been learnt; discriminators and generators work against each other, and theirs need not "
        "fall."
    ),
    SAMPLES: (
        "Synthetic patients of {}, one a row: the coarse simulation, the label that it was made from, and the finished "
        "CT in three planes. The last three columns are the training CT that is nearest to it over the whole volume: "
        "a synthetic CT that looks the same as its neighbour would be a copy."
    ),
    HEARTS: (
        "Hearts of annotated patients on the left and of synthetic ones of {} on the right, cut out of their CTs, in "
        "greys between the darkest and the brightest of the real hearts: blood is brighter than the walls around it "
        "where a CT shows contrast. The two hearts of a row have nothing to do with each other."
    ),
    LIKENESS: (
        "Real CTs of the training part and synthetic ones of {} in three planes, from different patients and at "
        "different heights. Below: how often each CT value occurs in a tissue. The closer both curves, the more alike "
        "the tissues are."
    ),
}


def caption(picture: pathlib.Path) -> str:
    """Return what a picture shows, told by its file's name; the name itself in words where it is another picture."""
    kind, _, arm = picture.stem.partition("_")
    text = _TEXTS.get(picture.stem) or _TEXTS.get(kind)
    return text.format(arms.title(arm)) if text else picture.stem.replace("_", " ").capitalize()


_SIMULATORS = {
    "random": "label maps in which each tissue has a random CT value in every volume; no image model is trained",
    "fixed": "synthetic CTs in which each tissue has the same CT value in every patient",
    "pretrained": "synthetic CTs of what was learnt from the annotated scans",
    "semi_supervised": "synthetic CTs of what was learnt from the annotated scans and from the unannotated ones too",
    "plus": "synthetic CTs with what goes beyond the paper: wider shapes, deformed copies, whole volumes enhanced",
    "federated_plus": "synthetic CTs of what all sites have learnt together, with what goes beyond the paper",
    "federated": "synthetic CTs of what all sites have learnt together without sharing scans",
}


def describe_arm(arm: str) -> str:
    """Return what an arm's network is trained on, in words."""
    if arm not in arms.ARMS:
        return ""
    found = arms.ARMS[arm]
    changed = ", turned, scaled, shifted and brightened at random" if found.augmented else ""
    if arm == arms.UPPER_BOUND:
        return "trained on every training scan with its annotation: what annotating all of them would bring"
    if arm == arms.DIRECT:
        return "one network that all sites train together, then trained on the site's own annotated scans"
    if not found.simulator:
        return f"trained on the annotated scans alone{changed}: what is had without synthetic ones"
    then = ", then on the annotated scans" if found.finetuned else " alone"
    return f"trained on {_SIMULATORS[found.simulator]}{then}{changed and f'; all{changed[1:]}'}"
