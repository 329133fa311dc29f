"""Vessels and airways outside the labelled heart, which join it to the body and the lungs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedsim_tf.phantom.landmarks import Landmarks
from fedsim_tf.phantom.lofts import bezier

_GENERATIONS = 5


class Tube(NamedTuple):
    """A vessel or airway.

    Attributes:
      path: (n, 3) in mm.
      radii: (n,) of the lumen in mm.
      content: what flows in it, such as "aorta", "vein" or "air".
      wall_mm: thickness of its wall.
    """

    path: np.ndarray
    radii: np.ndarray
    content: str
    wall_mm: float


def mediastinal_tubes(marks: Landmarks, hila: tuple[np.ndarray, np.ndarray]) -> list[Tube]:
    """Return the aorta beyond the heart, great veins, pulmonary vessels to the hila, airways and oesophagus."""
    return [
        *_aortic_tubes(marks),
        *_great_veins(marks),
        *_pulmonary_tubes(marks, hila),
        *_airways(marks, hila),
        _oesophagus(marks),
    ]


def hilum_positions(marks: Landmarks) -> tuple[np.ndarray, np.ndarray]:
    """Return where vessels enter the right and the left lung, each (x, y, z) in mm."""
    height = 0.5 * (marks.atrium_left[2] + marks.pulmonary_end[2])
    back = marks.atrium_left[1] - 2.0 * marks.size
    right = np.array([min(marks.atrium_right[0] - 14.0 * marks.size, marks.low[0] + 14.0 * marks.size), back, height])
    left = np.array([marks.atrium_left[0] + 22.0 * marks.size, back + 4.0 * marks.size, height + 6.0 * marks.size])
    return right, left


def draw_lung_tree(
    hilum: np.ndarray, outwards: np.ndarray, *, size: float, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return branching segments from a hilum into a lung, each a path (2, 3) and radii (2,) in mm.

    Args:
      hilum: (3,) where the tree begins.
      outwards: (3,) direction into the lung.
      size: size of the patient relative to an adult.
      rng: generator of lengths and directions.
    """
    segments: list[tuple[np.ndarray, np.ndarray]] = []
    fan = [(0.5, 1.2), (-1.0, 0.6), (0.9, -0.7), (-0.5, -1.2), (0.2, 0.0), (-1.6, -0.3), (0.6, -1.8)]
    branches = [(hilum, outwards + np.array([0.0, y, z]), 3.8 * size, 26.0 * size) for y, z in fan]
    for _ in range(_GENERATIONS):
        following = []
        for start, direction, radius, length in branches:
            heading = direction / np.linalg.norm(direction)
            end = start + heading * length * rng.uniform(0.75, 1.25)
            segments.append((np.stack([start, end]), np.array([radius, 0.8 * radius])))
            for _ in range(2):
                turned = heading + 0.5 * rng.standard_normal(3)
                following.append((end, turned, 0.72 * radius, 0.9 * length))
        branches = following
    return segments


def _aortic_tubes(marks: Landmarks) -> list[Tube]:
    size, end, radius = marks.size, marks.aorta_end, 0.9 * marks.aorta_radius
    descending_x, descending_y = marks.midline_x + 21.0 * size, marks.spine_y - 12.0 * size
    top = max(end[2] + 16.0 * size, marks.pulmonary_end[2] + 24.0 * size)
    arch_end = np.array([descending_x + 2.0 * size, descending_y, top - 18.0 * size])
    bends = np.array([end, [end[0] + 4.0 * size, end[1] - 4.0 * size, 2.0 * top - end[2]], arch_end])
    arch = bezier(bends, 14)
    low = np.array([descending_x - 6.0 * size, descending_y + 2.0 * size, marks.low[2] - 140.0 * size])
    radii = np.linspace(radius, 0.8 * radius, 14)
    descending = np.linspace(arch_end, low, 8)
    return [
        Tube(arch, radii, "aorta", 1.5 * size),
        Tube(descending, np.linspace(0.8 * radius, 0.66 * radius, 8), "aorta", 1.5 * size),
    ]


def _great_veins(marks: Landmarks) -> list[Tube]:
    size = marks.size
    up = marks.caval_top + np.array([[3.0, 4.0, -10.0], [4.0, 2.0, 25.0], [2.0, 0.0, 130.0]]) * size
    down = marks.caval_bottom + np.array([[0.0, 0.0, 10.0], [4.0, 4.0, -25.0], [8.0, 10.0, -140.0]]) * size
    return [
        Tube(bezier(up, 6), np.full(6, 8.5 * size), "vein", 1.0 * size),
        Tube(bezier(down, 6), np.full(6, 11.0 * size), "cava", 1.0 * size),
    ]


def _pulmonary_tubes(marks: Landmarks, hila: tuple[np.ndarray, np.ndarray]) -> list[Tube]:
    size, radius, (right, left) = marks.size, marks.pulmonary_radius, hila
    fork = marks.pulmonary_end + 4.0 * size * marks.pulmonary_direction
    behind = np.array([marks.midline_x - 6.0 * size, fork[1] + 16.0 * size, fork[2]])
    tubes = [
        Tube(np.stack([marks.pulmonary_end, fork]), np.full(2, radius), "pulmonary", 1.0 * size),
        Tube(bezier(np.stack([fork, behind, right]), 8), np.linspace(0.75, 0.45, 8) * radius, "pulmonary", 1.0 * size),
        Tube(
            bezier(np.stack([fork, 0.5 * (fork + left) + [0, 0, 10.0 * size], left]), 8),
            np.linspace(0.75, 0.45, 8) * radius,
            "pulmonary",
            1.0 * size,
        ),
    ]
    for entry, hilum in ((marks.atrium_right, right), (marks.atrium_left, left)):
        for rise in (-12.0, 10.0):
            lift = np.array([0.0, 0.0, rise * size])
            inside = entry + 0.25 * (0.5 * (marks.atrium_left + marks.atrium_right) - entry) + 0.7 * lift
            outside = hilum + lift + np.array([0.0, -6.0, -8.0]) * size
            tubes.append(Tube(np.stack([inside, outside]), np.array([6.5, 4.0]) * size, "pulmonary_vein", 0.8 * size))
    return tubes


def _airways(marks: Landmarks, hila: tuple[np.ndarray, np.ndarray]) -> list[Tube]:
    size, (right, left) = marks.size, hila
    carina = np.array([marks.midline_x + 2.0 * size, marks.spine_y - 34.0 * size, marks.high[2] + 16.0 * size])
    trachea = carina + np.array([[0.0, 0.0, 0.0], [0.0, -12.0 * size, 150.0 * size]])
    tubes = [Tube(trachea, np.full(2, 8.0 * size), "air", 1.5 * size)]
    for hilum in (right, left):
        middle = 0.5 * (carina + hilum) + np.array([0.0, 4.0, 2.0]) * size
        path = bezier(np.stack([carina, middle, hilum + np.array([0.0, 4.0, 4.0]) * size]), 5)
        tubes.append(Tube(path, np.linspace(6.5, 4.0, 5) * size, "air", 1.2 * size))
    return tubes


def _oesophagus(marks: Landmarks) -> Tube:
    size = marks.size
    x, y = marks.midline_x + 7.0 * size, marks.spine_y - 23.0 * size
    path = np.array([[x, y, marks.low[2] - 100.0 * size], [x, y, marks.high[2] + 150.0 * size]])
    return Tube(path, np.full(2, 6.0 * size), "oesophagus", 0.0)
