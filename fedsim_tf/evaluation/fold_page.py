"""The page of a fold at a site: who was trained on and tested, every patient's scores, pictures, volumes to scroll."""

from __future__ import annotations

import base64
import dataclasses
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fedsim_tf import arms
from fedsim_tf.arms import LOWER_BOUND, UPPER_BOUND
from fedsim_tf.evaluation.captions import LOSSES, SEGMENTATIONS, caption, describe_arm
from fedsim_tf.evaluation.pages import render_page
from fedsim_tf.evaluation.patient_tables import (
    SCORE_HEADINGS,
    compare_patients,
    list_worst_first,
    score_words,
    summarize_patients,
    true_volume_words,
)
from fedsim_tf.evaluation.planes import cut_planes
from fedsim_tf.evaluation.shown_volumes import ShownVolume
from fedsim_tf.evaluation.slice_sheets import outlined_slice
from fedsim_tf.evaluation.tables import Table
from fedsim_tf.evaluation.viewers import (
    TRUTH_COLOUR,
    arm_colour,
    choose_viewers,
    find_centre,
    tells_regions,
)
from fedsim_tf.evaluation.volumes_table import READ_AS
from fedsim_tf.progress import count_text, duration, format_bytes
from fedsim_tf.records.fold_data import LABELLED, TEST, UNLABELLED, UPPER_BOUND_PART, VALIDATION, FoldData
from fedsim_tf.records.fold_scores import ArmScores
from fedsim_tf.records.run_metrics import StageRecords

MOST_BYTES = 15_000_000  # of a page, beyond which it is left without some of the volumes to scroll
_PARTS = {
    LABELLED: "trained on, with their annotation",
    UNLABELLED: "trained on as unannotated, the image alone",
    VALIDATION: "validated: chose when training had done best",
    TEST: "tested: seen by no training",
}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FoldPage:
    """What a page of a fold at a site shows.

    Attributes:
      title: the page's heading: data and fold.
      scores: by arm.
      data: who is in which part; None where it was not noted.
      shown: volumes that were kept to be shown; none in folds of before.
      pictures: PNG files.
      volumes: see `volumes_table`.
      stages: the records of finished stages, by name.
      is_phantom: whether phantoms stand in for patients.
    """

    title: str
    scores: Mapping[str, ArmScores]
    data: FoldData | None
    shown: Sequence[ShownVolume]
    pictures: Sequence[pathlib.Path]
    volumes: Table
    stages: StageRecords
    is_phantom: bool


def write_fold_page(path: pathlib.Path, page: FoldPage, *, top: str) -> None:
    """Write the page of a fold at a site as one file that needs no other one.

    Args:
      path: the HTML file.
      page: what it shows.
      top: the run's page, relative to this one's folder.
    """
    render_page(path, "fold.html.j2", title=page.title, top=top, fold=describe_fold(page))


def describe_fold(page: FoldPage) -> dict[str, Any]:
    """Return what the templates show of a fold, by name."""
    pictures = [(embed_picture(file), caption(file), file.stem) for file in sorted(page.pictures, key=_picture_order)]
    patients = _list_patients(page)
    room = MOST_BYTES - sum(len(source) for source, _, _ in pictures)
    room -= sum(len(row["picture"]) for one in patients for row in one["rows"])
    viewers, left_out = choose_viewers(page.shown, room=room)
    return {
        "arms": [
            {"name": arm, "title": arms.title(arm), "words": describe_arm(arm), "colour": arm_colour(number)}
            for number, arm in enumerate(page.scores)
        ],
        "is_phantom": page.is_phantom,
        "parts": describe_parts(page.data),
        "equal": list(explain_equal(page.scores, page.data)),
        "score_headings": SCORE_HEADINGS,
        "patients": patients,
        "summary": summarize_patients(page.scores),
        "differences": compare_patients(page.scores),
        "pictures": [one for one in pictures if one[2] != LOSSES],
        "losses": [one for one in pictures if one[2] == LOSSES],
        "volumes": page.volumes,
        "volumes_note": READ_AS,
        "stages": describe_stages(page.stages),
        "times": describe_times(page.stages),
        "viewers": viewers,
        "left_out": left_out,
        "most": format_bytes(MOST_BYTES),
    }


def embed_picture(file: pathlib.Path) -> str:
    """Return a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode('ascii')}"


def _picture_order(file: pathlib.Path) -> tuple[bool, str]:
    return (file.stem != SEGMENTATIONS, file.stem)


def describe_parts(data: FoldData | None) -> list[tuple[str, list[str]]]:
    """Return what was done with the volumes of each part, in words, and their names."""
    if data is None:
        return []
    parts = {part: list(data.parts.get(part, ())) for part in _PARTS}
    rows = [(words, parts[part]) for part, words in _PARTS.items()]
    others = [name for name in data.parts.get(UPPER_BOUND_PART, ()) if name not in parts[LABELLED]]
    if others:
        words = "trained on with their annotation by the upper bound alone; unannotated for the others"
        rows.insert(2, (words, others))
    return rows


def explain_equal(scores: Mapping[str, ArmScores], data: FoldData | None) -> Iterable[str]:
    """Give a sentence about each arm that is another one under certain conditions, and about which parts are empty."""
    if data is not None and data.all_annotated and {LOWER_BOUND, UPPER_BOUND} <= set(scores):
        if scores[LOWER_BOUND].cases == scores[UPPER_BOUND].cases:
            yield (
                "The upper bound is the lower bound: every training volume is used with its annotation, so both learn "
                "from the same volumes. They are one network, which was trained once."
            )
        else:
            yield (
                "The upper bound and the lower bound learn from the same volumes, as every one is used with its "
                "annotation. They were trained one after the other; what they differ by is chance."
            )
    if data is not None and not data.parts.get(UNLABELLED):
        yield "There is no unannotated volume: what learns to simulate has learnt from the annotated ones alone."
    for arm in scores:
        network = arms.get_network_arm(arm) if arm in arms.ARMS else arm
        if network != arm:
            yield (
                f"{arms.title(arm)} is the network of {arms.title(network)} before that is trained on real volumes: "
                "both have seen the same synthetic ones."
            )


def _list_patients(page: FoldPage) -> list[dict[str, Any]]:
    shown = {one.name: one for one in page.shown if not one.arm}
    colours = {arm: arm_colour(number) for number, arm in enumerate(page.scores)}
    found = []
    for patient in list_worst_first(page.scores):
        rows = []
        for arm, scores in page.scores.items():
            if patient in scores.cases:
                picture = _draw_found(shown[patient], arm, colours[arm]) if patient in shown else ""
                rows.append(
                    {
                        "arm": arms.title(arm),
                        "words": score_words(scores.cases[patient]),
                        "picture": picture,
                        "colour": colours[arm],
                    }
                )
        found.append(
            {
                "name": patient,
                "true_ml": true_volume_words(page.scores, patient),
                "picture": _draw_truth(shown[patient]) if patient in shown else "",
                "aspect": _describe_aspect(shown[patient]) if patient in shown else "",
                "rows": rows,
            }
        )
    return found


def _describe_aspect(volume: ShownVolume) -> str:
    """Return the proportions of an axial slice as CSS has them."""
    x_mm, y_mm, _ = volume.extent_mm
    return f"{x_mm:.1f}/{y_mm:.1f}"


def _draw_truth(volume: ShownVolume) -> str:
    colour = None if tells_regions(volume) else TRUTH_COLOUR
    image, ids = (cut_planes(one, find_centre(volume.label))[0] for one in (volume.image, volume.label))
    return outlined_slice(image, [(ids, colour)])


def _draw_found(volume: ShownVolume, arm: str, colour: str) -> str:
    """Return the slice with the outline of an arm's mask, above that of the label where both are of the whole heart."""
    if arm not in volume.found:
        return ""
    centre = find_centre(volume.label)
    image, truth, mask = (cut_planes(one, centre)[0] for one in (volume.image, volume.label, volume.found[arm]))
    if tells_regions(volume):
        return outlined_slice(image, [(mask, None)])
    return outlined_slice(image, [(truth, TRUTH_COLOUR), (mask, colour)])


def describe_stages(stages: StageRecords) -> list[tuple[str, str, str, str, str]]:
    """Return a row for each loss of each stage: stage, loss, its mean at the start and at the end, and its way."""
    return [
        (stage, loss, f"{values['first']:.4g}", f"{values['last']:.4g}", "down" if values["down"] else "up")
        for stage, record in stages.items()
        for loss, values in record.get("losses", {}).items()
    ]


def describe_times(stages: StageRecords) -> list[tuple[str, str, str, str]]:
    """Return stage, steps, time and peak memory of each stage in words, and at the end those of all."""
    peak = lambda record: format_bytes(record["peak_bytes"]) if "peak_bytes" in record else ""  # noqa: E731
    rows = [
        (stage, str(record["steps"]), duration(record["seconds"]), peak(record))
        for stage, record in stages.items()
        if "steps" in record and "seconds" in record
    ]
    if len(rows) > 1:
        total = sum(record.get("seconds", 0.0) for record in stages.values())
        largest = max(stages.values(), key=lambda record: record.get("peak_bytes", 0))
        rows.append((f"all {count_text(len(rows), 'stage')}", "", duration(total), peak(largest)))
    return rows
