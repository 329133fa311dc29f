"""Building a statistical shape model from label maps or shapes in correspondence, with a report on its quality."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from absl import logging

from fedsim_tf.evaluation.shape_figures import fit_figure, mode_figure, quality_figure
from fedsim_tf.files import digest_files, write_json, write_text
from fedsim_tf.progress import progress_bar
from fedsim_tf.shape.distances import mean_surface_distance
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.label_surfaces import LabelSurface
from fedsim_tf.shape.mesh_export import export_model
from fedsim_tf.shape.quality import Generalisation, compactness, generalisation, specificity
from fedsim_tf.shape.registration import register_groupwise
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes, region_surface
from fedsim_tf.tools.ssm_start import BuildPlan, LabelsStart, ShapesStart
from fedsim_tf.volume import Volume

_PICTURE_VOXELS = 160
_MARGIN_MM = 10.0


def build_model(start: LabelsStart | ShapesStart) -> StatisticalShapeModel:
    """Build a shape model from what was opened, write it with its report, and return it. A stopped call resumes."""
    return build_from_labels(start) if isinstance(start, LabelsStart) else build_from_shapes(start)


def build_from_labels(start: LabelsStart) -> StatisticalShapeModel:
    """Register the surfaces of label maps, and write their model and its report. A stopped call resumes."""
    plan, sources, surfaces = start.plan, start.sources, start.surfaces
    plan.report.mkdir(parents=True, exist_ok=True)
    for surface in surfaces:
        if surface.closed_at_border:
            logging.info(
                "%s: regions %s run out of the image; closed flat there", surface.identity, surface.closed_at_border
            )
    with progress_bar(1, "registration") as bar:

        def advance(done: int, total: int, text: str) -> None:
            bar.total = total
            bar.set_postfix_str(text, refresh=False)
            bar.update(done - bar.n)

        checkpoint = plan.report / "registration.npz"
        found = register_groupwise(surfaces, plan.options, progress=advance, checkpoint=checkpoint)
    names = [surface.identity for surface in surfaces]
    residuals = _residuals(found.shapes, surfaces)
    extra = {
        "registration": [iteration._asdict() for iteration in found.record],
        "residual_mm": dict(zip(names, residuals, strict=True)),
    }
    digests = tuple(digest_files(sources[name].files) for name in names)
    shapes = dataclasses.replace(found.shapes, subjects=tuple(names), subject_digests=digests)
    model = _finish(shapes, plan, surfaces=surfaces, extra=extra)
    worst = int(np.argmax(residuals))
    title = f"{names[worst]}: the worst registration, {residuals[worst]:.2f} mm on average"
    volume = sources[names[worst]].load()
    _draw_fit(plan.report / "worst_fit.png", volume, shapes, subject=worst, title=title)
    return model


def build_from_shapes(start: ShapesStart) -> StatisticalShapeModel:
    """Write the model of shapes that are in correspondence already, and its report."""
    return _finish(start.shapes, start.plan)


def _residuals(shapes: CorrespondingShapes, surfaces: Sequence[LabelSurface]) -> list[float]:
    """Return the mean distance in mm between each registered surface and the subject's own, over all regions."""
    residuals = []
    with progress_bar(len(surfaces), "distance to the label maps") as bar:
        for points, surface in zip(shapes.points, surfaces, strict=True):
            own, true = (points, shapes.faces, shapes.region_id), (surface.points, surface.faces, surface.region_id)
            each = [
                mean_surface_distance(*region_surface(*own, region), *region_surface(*true, region))
                for region in surface.regions
            ]
            weights = [np.sum(shapes.region_id == region) for region in surface.regions]
            residuals.append(float(np.average(each, weights=weights)))
            bar.update()
    return residuals


def _finish(
    shapes: CorrespondingShapes,
    plan: BuildPlan,
    *,
    surfaces: Sequence[LabelSurface] | None = None,
    extra: dict | None = None,
) -> StatisticalShapeModel:
    """Fit the model, measure it, and write it with its report."""
    report, names = plan.report, shapes.subjects or [f"shape_{k + 1:03d}" for k in range(len(shapes.points))]
    report.mkdir(parents=True, exist_ok=True)
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    model = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, plan.modes)
    model = dataclasses.replace(model, subjects=shapes.subjects, subject_digests=shapes.subject_digests)
    general = _leave_out(shapes, plan.modes, surfaces)
    with progress_bar(plan.specificity_samples, "specificity") as bar:
        specific = specificity(model, shapes, n_samples=plan.specificity_samples, progress=bar.update)
    explained = compactness(shapes)
    shapes.save(report / "shapes.npz")
    mode_figure(report / "modes.png", model, title=f"Modes of {len(names)} hearts")
    if general is not None:
        quality_figure(report / "quality.png", explained, general, shapes.region_id, title=f"{len(names)} hearts")
    export_model(model, report / "meshes")
    quality = {
        "subjects": list(names),
        "modes": plan.modes,
        "vertices": len(model.mean),
        "faces": len(model.faces),
        "regions": np.unique(model.region_id).tolist(),
        "compactness": explained.tolist(),
        "specificity_mm": {"mean": specific.mean_mm, "std": specific.std_mm, "samples": specific.n_samples},
        "generalisation_mm": None if general is None else _general_record(general, names),
        **(extra or {}),
    }
    write_json(report / "quality.json", quality)
    write_text(report / "quality.md", quality_summary(quality))
    model.save(plan.out)
    return model


def _leave_out(
    shapes: CorrespondingShapes, modes: int, surfaces: Sequence[LabelSurface] | None
) -> Generalisation | None:
    """Return the generalisation with as many modes as leaving one out allows; None for two subjects."""
    modes = min(modes, len(shapes.points) - 2)
    if modes < 1:
        return None
    true = None if surfaces is None else [(s.points, s.faces, s.region_id) for s in surfaces]
    with progress_bar(len(shapes.points), "generalisation") as bar:
        return generalisation(shapes, modes, true, progress=bar.update)


def _general_record(general: Generalisation, names: Sequence[str]) -> dict:
    return {
        "modes": general.n_modes,
        "mean_surface": float(general.surface_mm.mean()),
        "mean_vertex": float(general.vertex_mm.mean()),
        "surface": dict(zip(names, general.surface_mm.tolist(), strict=True)),
        "vertex": dict(zip(names, general.vertex_mm.tolist(), strict=True)),
    }


def quality_summary(quality: dict) -> str:
    """Return the figures of the report as Markdown."""
    explained, specific, general = quality["compactness"], quality["specificity_mm"], quality["generalisation_mm"]
    lines = [
        f"# Shape model of {len(quality['subjects'])} hearts",
        "",
        f"- {quality['modes']} modes, {quality['vertices']} vertices, {quality['faces']} faces",
        f"- regions: {', '.join(map(str, quality['regions']))}",
        f"- compactness: {100 * explained[quality['modes'] - 1]:.1f} % of the variance in these modes",
        f"- specificity: {specific['mean']:.2f} mm (sd {specific['std']:.2f}, {specific['samples']} random shapes)",
    ]
    if general:
        lines.append(
            f"- generalisation, leave-one-out, {general['modes']} modes: mean surface distance "
            f"{general['mean_surface']:.2f} mm, vertex error {general['mean_vertex']:.2f} mm"
        )
    residual = quality.get("residual_mm")
    if residual:
        lines.append(f"- registration: mean surface distance {np.mean(list(residual.values())):.2f} mm")
    if general:
        lines += ["", "| subject | registration, mm | left out, mm |", "|---|---|---|"]
        shown = residual or {}
        for name, value in general["surface"].items():
            lines.append(f"| {name} | {f'{shown[name]:.2f}' if name in shown else '-'} | {value:.2f} |")
    return "\n".join(lines) + "\n"


def _draw_fit(path: pathlib.Path, volume: Volume, shapes: CorrespondingShapes, *, subject: int, title: str) -> None:
    """Draw a registered surface over the subject's own label map; an oblique label map is drawn on straight axes."""
    points = shapes.points[subject]
    low, high = points.min(axis=0) - _MARGIN_MM, points.max(axis=0) + _MARGIN_MM
    spacing = float((high - low).max()) / _PICTURE_VOXELS
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing)[::-1])
    grid = Grid(shape, (spacing,) * 3, tuple(low.tolist()))  # type: ignore[arg-type]
    fit_figure(path, _resample(volume, grid), grid, points, shapes.faces, shapes.region_id, title=title)


def _resample(volume: Volume, grid: Grid) -> np.ndarray:
    """Return the label at the centre of each voxel of the grid, 0 outside the volume."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    where = np.stack([x, y, z], axis=-1) * np.array(grid.spacing_mm) + np.array(grid.origin_mm)
    geometry = volume.geometry
    direction = np.array(geometry.direction).reshape(3, 3)
    index = np.rint((where - np.array(geometry.origin_mm)) @ direction / np.array(geometry.spacing_mm)).astype(int)
    inside = np.all((index >= 0) & (index < np.array(volume.array.shape[::-1])), axis=-1)
    clipped = np.clip(index, 0, np.array(volume.array.shape[::-1]) - 1)
    return np.where(inside, volume.array[clipped[..., 2], clipped[..., 1], clipped[..., 0]], 0).astype(np.uint8)
