"""Volumes to scroll through on a page: their slices in three planes, and outlines that can be shown and hidden."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np

from fedsim_tf import arms
from fedsim_tf.evaluation.planes import PLANE_NAMES
from fedsim_tf.evaluation.shown_volumes import ShownVolume
from fedsim_tf.evaluation.slice_sheets import image_sheets, outline_sheets
from fedsim_tf.regions import is_whole_heart

TRUTH_COLOUR = "#39d353"
ARM_COLOURS = ("#ff5252", "#4da3ff", "#ffb020", "#d07bff", "#00d0c0", "#ff8fb1", "#c6e04a", "#b0b8c4")
_WAYS = ("feet to head", "front to back", "right to left")


@dataclasses.dataclass(frozen=True)
class Plane:
    """One plane of a volume: the sheet of its slices, which a slider moves through.

    Attributes:
      name: the plane, and where the slider leads.
      count: the number of slices.
      middle: the slice that is shown first, in which the heart is.
      width_mm, height_mm: the extent of a slice.
      sheet: the CT's slices one below the other, as a data URI.
    """

    name: str
    count: int
    middle: int
    width_mm: float
    height_mm: float
    sheet: str


@dataclasses.dataclass(frozen=True)
class OutlineLayer:
    """Outlines over a volume's slices.

    Attributes:
      title: whose they are.
      colour: hexadecimal RGB; None where each region has its own colour.
      is_shown: whether they are seen before the reader asks for them.
      sheets: a data URI for each plane.
    """

    title: str
    colour: str | None
    is_shown: bool
    sheets: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Viewer:
    """A volume to scroll through.

    Attributes:
      title: the patient, or which synthetic volume it is.
      planes: as in `planes.PLANE_NAMES`.
      layers: outlines of the label and of each arm's mask.
    """

    title: str
    planes: tuple[Plane, ...]
    layers: tuple[OutlineLayer, ...]

    @property
    def size(self) -> int:
        """Return about how many bytes the viewer adds to a page."""
        return sum(len(plane.sheet) for plane in self.planes) + sum(
            len(sheet) for layer in self.layers for sheet in layer.sheets
        )


def find_centre(label: np.ndarray) -> tuple[int, int, int]:
    """Return along each axis of a label (z, y, x) the slice in which the heart is largest; the middle without one."""
    centre = []
    for axis in range(3):
        areas = np.count_nonzero(np.moveaxis(label, axis, 0), axis=(1, 2))
        centre.append(int(np.argmax(areas)) if areas.any() else len(areas) // 2)
    return centre[0], centre[1], centre[2]


def make_viewer(volume: ShownVolume) -> Viewer:
    """Return the viewer of a volume."""
    x_mm, y_mm, z_mm = volume.extent_mm
    sizes_mm, centre = ((x_mm, y_mm), (x_mm, z_mm), (y_mm, z_mm)), find_centre(volume.label)
    sheets, counts = image_sheets(volume.image), volume.image.shape
    planes = tuple(
        Plane(f"{name}, {way}", counts[number], centre[number], *sizes_mm[number], sheets[number])
        for number, (name, way) in enumerate(zip(PLANE_NAMES, _WAYS, strict=True))
    )
    return Viewer(_title(volume), planes, tuple(_list_layers(volume)))


def _title(volume: ShownVolume) -> str:
    return f"{arms.title(volume.arm)}: {volume.name}" if volume.arm else volume.name


def _list_layers(volume: ShownVolume) -> Iterable[OutlineLayer]:
    by_region = tells_regions(volume)
    truth = None if by_region else TRUTH_COLOUR
    yield OutlineLayer("label", truth, True, tuple(outline_sheets(volume.label, colour=truth)))
    first = choose_first_arm(list(volume.found))
    for number, (arm, mask) in enumerate(volume.found.items()):
        colour = None if by_region else arm_colour(number)
        is_shown = arm == first and not by_region
        yield OutlineLayer(arms.title(arm), colour, is_shown, tuple(outline_sheets(mask, colour=colour)))


def tells_regions(volume: ShownVolume) -> bool:
    """Return whether the label or a mask of a volume tells regions apart."""
    return not all(map(is_whole_heart, (volume.label, *volume.found.values())))


def arm_colour(number: int) -> str:
    """Return the colour of the outlines of the arm with this number in the order of the page."""
    return ARM_COLOURS[number % len(ARM_COLOURS)]


def choose_first_arm(names: Sequence[str]) -> str | None:
    """Return the arm that is shown first: the last one that learns from synthetic volumes, or else the last of all."""
    simulating = [name for name in names if name in arms.ARMS and arms.ARMS[name].simulator]
    found = simulating or list(names)
    return found[-1] if found else None


def choose_viewers(volumes: Sequence[ShownVolume], *, room: int) -> tuple[list[Viewer], list[str]]:
    """Return viewers of as many volumes as there is room for, and the titles of the others.

    The first test volume and the first synthetic one of each arm come first, then the second ones, and so on.

    Args:
      volumes: the test volumes and the synthetic ones, in the order of the page.
      room: bytes.
    """
    seen: dict[str, int] = {}
    turns = []
    for place, volume in enumerate(volumes):
        seen[volume.arm] = seen.get(volume.arm, -1) + 1
        turns.append((seen[volume.arm], place))
    made: dict[int, Viewer] = {}
    left_out: list[int] = []
    for _, place in sorted(turns):
        viewer = None if left_out else make_viewer(volumes[place])
        if viewer is None or viewer.size > room:
            left_out.append(place)
            continue
        room -= viewer.size
        made[place] = viewer
    return [made[place] for place in sorted(made)], [_title(volumes[place]) for place in sorted(left_out)]
