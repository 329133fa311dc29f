"""Pictures of heart shapes: modes of variation, a surface fitted to a label map, the quality of a model."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import trimesh
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.figures import save_figure
from fedsim_tf.regions import BACKGROUND, REGION_IDS, REGIONS
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.quality import Generalisation
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import region_surface

_LIGHT = np.array([-0.45, -0.75, 0.5]) / np.linalg.norm([-0.45, -0.75, 0.5])  # from the front, above, patient's right
_AMBIENT = 0.42
_INK, _FAINT = "#333333", "#bbbbbb"
_DPI = 130
# Name, axis cut (x, y, z), axes drawn right and up, and whether the latter points down: as radiologists look at LPS.
_PLANES = (("axial", 2, (0, 1), True), ("coronal", 1, (0, 2), False), ("sagittal", 0, (1, 2), False))


def mode_figure(
    path: str | os.PathLike,
    model: StatisticalShapeModel,
    *,
    n_modes: int = 5,
    deviations: Sequence[float] = (-3, 0, 3),
    title: str = "",
) -> None:
    """Draw the first modes of variation, a row for each with its share of the variance, a column for each deviation.

    Args:
      path: the PNG to write.
      model: the shape model, in LPS.
      n_modes: at most so many modes.
      deviations: what to draw of each mode, in standard deviations.
      title: above everything.

    Raises:
      InputError: there is no mode or no deviation.
    """
    n_modes = min(n_modes, model.n_modes)
    if n_modes < 1 or not len(deviations):
        found = f"{n_modes} and {len(deviations)}"
        raise InputError("modes and deviations", found=found, expected="one or more of each")
    shapes = np.stack([[model.instance(d * row) for d in deviations] for row in np.eye(model.n_modes)[:n_modes]])
    low, high = shapes.min(axis=(0, 1, 2))[[0, 2]], shapes.max(axis=(0, 1, 2))[[0, 2]]
    low, high = low - 0.02 * (high - low), high + 0.02 * (high - low)
    cell = 2.2 * np.array([(high - low)[0] / (high - low)[1], 1.0])
    figure = Figure(figsize=(cell[0] * len(deviations) + 0.6, cell[1] * n_modes + 1.0), layout="constrained")
    axes = figure.subplots(n_modes, len(deviations), squeeze=False)
    share = np.square(model.std) / np.sum(np.square(model.std)) if np.any(model.std) else model.std
    for k, line in enumerate(axes):
        for axis, points in zip(line, shapes[k], strict=True):
            draw_surface(axis, points, model.faces, model.region_id)
            axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        line[0].text(
            -0.04,
            0.5,
            f"mode {k + 1}\n{share[k]:.0%}",
            transform=line[0].transAxes,
            ha="right",
            va="center",
            fontsize=9,
        )
    for axis, deviation in zip(axes[0], deviations, strict=True):
        axis.set_title("mean" if deviation == 0 else f"{deviation:+g} sd", fontsize=9, color=_INK)
    _region_legend(figure, model.region_id)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, pathlib.Path(path), dpi=_DPI)


def fit_figure(
    path: str | os.PathLike,
    label: np.ndarray,
    grid: Grid,
    points: np.ndarray,
    faces: np.ndarray,
    region_id: np.ndarray,
    *,
    title: str = "",
) -> None:
    """Draw three slices of a label map through its middle, with the lines in which they cut a surface.

    Args:
      path: the PNG to write.
      label: (z, y, x) region ids, 0 outside.
      grid: where the label map lies, in the surface's coordinates (LPS).
      points: (V, 3) vertices of the surface in mm.
      faces: (F, 3) vertices of each triangle.
      region_id: (V,) region of each vertex.
      title: above everything.

    Raises:
      InputError: label and grid are of different shapes.
    """
    if label.shape != tuple(grid.shape):
        raise InputError("label", found=f"shape {label.shape}", expected=str(tuple(grid.shape)))
    centre = _middle(label)
    spacing, origin = np.asarray(grid.spacing_mm, float), np.asarray(grid.origin_mm, float)
    size = np.array(label.shape[::-1]) * spacing
    widths, heights = size[[0, 0, 1]], size[[1, 2, 2]]  # one scale for all three
    figure = Figure(figsize=(11, 10.6 * heights.max() / widths.sum() + 0.9), layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=widths)
    for axis, (name, cut, (across, up), downwards) in zip(axes, _PLANES, strict=True):
        axis.imshow(
            _pale(np.take(label, centre[cut], axis=2 - cut)),
            origin="lower",
            extent=_extent(origin, spacing, label.shape[::-1], across, up),
            interpolation="nearest",
        )
        if downwards:
            axis.invert_yaxis()
        plane_mm = origin[cut] + centre[cut] * spacing[cut]
        _draw_cut(axis, points, faces, region_id, cut=cut, plane_mm=plane_mm, drawn=(across, up))
        axis.set_title(f"{name}, {'xyz'[cut]} = {plane_mm:.0f} mm", fontsize=9, color=_INK)
        axis.set_axis_off()
    handles = [*_region_handles(region_id), Line2D([], [], color=_INK, linewidth=1.4, label="surface (lines)")]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, pathlib.Path(path), dpi=_DPI)


def quality_figure(
    path: str | os.PathLike,
    compactness: np.ndarray,
    generalisation: Generalisation,
    region_id: np.ndarray,
    *,
    title: str = "",
) -> None:
    """Draw the variance explained by number of modes, and leave-one-out errors of each subject and of each region.

    Args:
      path: the PNG to write.
      compactness: (K,) cumulative shares of the variance.
      generalisation: the errors of n subjects.
      region_id: the model's region of each vertex, to name the errors' regions.
      title: above everything.

    Raises:
      InputError: the errors are not of as many regions.
    """
    regions = np.unique(region_id)
    if generalisation.region_mm.shape[1] != len(regions):
        raise InputError("region_id", found=regions.tolist(), expected=f"{generalisation.region_mm.shape[1]} regions")
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.15, 1))
    _draw_compactness(left, compactness)
    _draw_subjects(middle, generalisation)
    parts = right.boxplot(
        generalisation.region_mm,
        patch_artist=True,
        widths=0.6,
        medianprops={"color": _INK},
        flierprops={"markersize": 3},
    )
    for box, region in zip(parts["boxes"], regions, strict=True):
        box.set(facecolor=REGIONS[int(region)].colour, alpha=0.8)
    right.set_xticks(range(1, len(regions) + 1), list(_names(region_id, short=True).values()))
    right.set_title("left-out error by region", fontsize=9)
    right.set_ylabel("mean surface distance, mm", fontsize=8)
    for axis in (left, middle, right):
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=11)
    save_figure(figure, pathlib.Path(path), dpi=_DPI)


def draw_surface(axis: Axes, points: np.ndarray, faces: np.ndarray, region_id: np.ndarray) -> None:
    """Draw shaded triangles from the front, far ones first: orthographic, the patient's left on the right, head up.

    Args:
      axis: where to draw.
      points: (V, 3) vertices in mm, LPS.
      faces: (F, 3) vertices of each triangle.
      region_id: (V,) region of each vertex.
    """
    corners = np.asarray(points, np.float64)[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    seen = np.flatnonzero(normals[:, 1] < 0)  # y grows backwards
    seen = seen[np.argsort(-corners[seen, :, 1].mean(axis=1))]
    light = _AMBIENT + (1 - _AMBIENT) * np.clip(normals[seen] @ _LIGHT, 0, 1)
    base = np.array([to_rgb(REGIONS[region].colour if region else _FAINT) for region in (BACKGROUND, *REGION_IDS)])
    colours = np.clip(base[np.asarray(region_id)[faces[seen, 0]]] * (1.12 * light)[:, None], 0, 1)
    # Edges in the faces' own colour close the hairline gaps between triangles.
    axis.add_collection(PolyCollection(corners[seen][:, :, [0, 2]], facecolors=colours, edgecolors=colours, lw=0.3))
    axis.set_aspect("equal")
    axis.autoscale_view()
    axis.set_axis_off()


def _draw_cut(
    axis: Axes,
    points: np.ndarray,
    faces: np.ndarray,
    region_id: np.ndarray,
    *,
    cut: int,
    plane_mm: float,
    drawn: tuple[int, int],
) -> None:
    """Draw the lines in which a plane cuts each region's surface."""
    normal = np.eye(3)[cut]
    for region in np.unique(region_id):
        mesh = trimesh.Trimesh(*region_surface(points, faces, region_id, region), process=False)
        segments = trimesh.intersections.mesh_plane(mesh, normal, normal * plane_mm)
        if len(segments):
            dark = 0.72 * np.array(to_rgb(REGIONS[int(region)].colour))
            axis.add_collection(LineCollection(segments[:, :, drawn], colors=[dark], linewidths=1.4))


def _draw_compactness(axis: Axes, compactness: np.ndarray) -> None:
    modes = np.arange(1, len(compactness) + 1)
    axis.bar(modes, 100 * np.diff(compactness, prepend=0), color="#86b3d1", width=0.7, label="each mode")
    axis.plot(modes, 100 * compactness, "o-", color="#4f7cac", markersize=3, linewidth=1.4, label="cumulative")
    axis.axhline(95, color=_FAINT, linewidth=0.8, linestyle="--", zorder=0)
    axis.legend(fontsize=7, frameon=False, loc="center right")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_title("compactness", fontsize=9)
    axis.set_xlabel("modes", fontsize=8)
    axis.set_ylabel("variance, %", fontsize=8)


def _draw_subjects(axis: Axes, generalisation: Generalisation) -> None:
    numbers = np.arange(1, len(generalisation.surface_mm) + 1)
    mean = float(generalisation.surface_mm.mean())
    axis.bar(numbers, generalisation.surface_mm, color="#c8553d", alpha=0.85, width=0.7)
    axis.axhline(mean, color=_INK, linewidth=1, linestyle="--", label=f"mean {mean:.2f} mm")
    axis.legend(fontsize=7, frameon=False, loc="upper right")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    modes = "1 mode" if generalisation.n_modes == 1 else f"{generalisation.n_modes} modes"
    axis.set_title(f"generalisation, {modes}", fontsize=9)
    axis.set_xlabel("left-out subject", fontsize=8)
    axis.set_ylabel("mean surface distance, mm", fontsize=8)
    axis.margins(y=0.15)


def _middle(label: np.ndarray) -> np.ndarray:
    """Return the voxel (x, y, z) in the middle of what is labelled; the grid's where nothing is."""
    found = np.argwhere(label > 0)
    middle = found.mean(axis=0) if len(found) else (np.array(label.shape) - 1) / 2
    return np.round(middle).astype(int)[::-1]


def _extent(
    origin: np.ndarray, spacing: np.ndarray, shape: Sequence[int], across: int, up: int
) -> tuple[float, float, float, float]:
    low = origin - spacing / 2
    high = low + spacing * np.array(shape)
    return float(low[across]), float(high[across]), float(low[up]), float(high[up])


def _pale(labels: np.ndarray) -> np.ndarray:
    """Return light colours (y, x, 3) for region ids (y, x), white outside."""
    colours = np.ones((1 + len(REGIONS), 3))
    for number, region in REGIONS.items():
        colours[number] = 0.45 * np.array(to_rgb(region.colour)) + 0.55
    return ListedColormap(list(map(tuple, colours)))(labels.astype(int))[..., :3]


def _names(region_id: np.ndarray, *, short: bool = False) -> dict[int, str]:
    """Return the name of each region; where hearts are binary, region 1 is the whole heart."""
    numbers = [int(number) for number in np.unique(region_id)]
    if numbers == [1]:
        return {1: "heart"}
    return {number: REGIONS[number].short_name if short else REGIONS[number].title for number in numbers}


def _region_handles(region_id: np.ndarray) -> list[Patch]:
    return [Patch(color=REGIONS[region].colour, label=name) for region, name in _names(region_id).items()]


def _region_legend(figure: Figure, region_id: np.ndarray) -> None:
    handles = _region_handles(region_id)
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=8)
