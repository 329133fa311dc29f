"""A statistical shape model from label maps, or from shapes in correspondence, with a report on its quality."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from absl import logging

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.label_files import find_label_files, read_label_map
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.shape_figures import fit_figure, mode_figure, quality_figure
from fedsim_tf.files import write_json, write_text
from fedsim_tf.phantom.hearts import model_hearts
from fedsim_tf.progress import progress_bar
from fedsim_tf.shape.distances import mean_surface_distance
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.label_surfaces import LabelSurface, label_surface
from fedsim_tf.shape.mesh_export import export_model
from fedsim_tf.shape.mesh_folders import read_corresponding
from fedsim_tf.shape.quality import Generalisation, compactness, generalisation, specificity
from fedsim_tf.shape.registration import RegistrationOptions, register_with_record
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.shape.surfaces import CorrespondingShapes, region_surface
from fedsim_tf.volume import Volume

_SECONDS_PER_SUBJECT = 12.0  # of the registration at 4,000 points on two cores, measured
_PICTURE_VOXELS = 160
_THREADS = 2
_MARGIN_MM = 10.0
Loader = Callable[[], Volume]


@dataclasses.dataclass(frozen=True)
class BuildPlan:
    """What to build a model from, and where it goes.

    Attributes:
      out: the model's .npz file.
      n_modes: of the model.
      report: folder for the report, the corresponding shapes, meshes, and the state that a stopped run resumes from.
      regions: which labels; empty: all seven, or the heart as a whole if the first subject has no others than it.
      options: of the registration.
      specificity_samples: random shapes.
    """

    out: pathlib.Path
    n_modes: int
    report: pathlib.Path
    regions: tuple[int, ...] = ()
    options: RegistrationOptions = dataclasses.field(default_factory=RegistrationOptions)
    specificity_samples: int = 500


def estimated_seconds(n_subjects: int, points: int) -> float:
    """About how long the registration takes: its work is points times components, which are as many."""
    return n_subjects * _SECONDS_PER_SUBJECT * (points / 4000) ** (2 if points > 4000 else 1)


def find_subjects(
    labels: str | os.PathLike, dataset: str | None = None, *, fold: int | None = None, split_seed: int = 0
) -> dict[str, Loader]:
    """How to read each subject's label map: of a folder of them, or of a data set's own layout.

    Args:
      labels: the folder; dataset: whose layout it has, None for label maps alone.
      fold: the training part of this fold of the data set alone; split_seed: a run's `--data_split_seed`.

    Raises:
      InputError: no such folder or files; a single subject; a fold of a folder that is no data set.
    """
    if dataset:
        cohort = find_cohort(dataset, labels)
        names = cohort.annotated
        if fold is not None:
            names = cohort.fold(fold, seed=split_seed).train
        loaders: dict[str, Loader] = {name: _label_loader(cohort, name) for name in names}
    elif fold is not None:
        raise InputError("--fold", found=fold, expected="--dataset too, as data sets alone have folds")
    else:
        loaders = {name: _file_loader(path) for name, path in find_label_files(labels).items()}
    if len(loaders) < 2:
        raise InputError(labels, found=f"{len(loaders)} subject", expected="label maps of at least two")
    return loaders


def _label_loader(cohort, identity: str) -> Loader:
    return lambda: cohort.load(identity).label


def _file_loader(path: pathlib.Path) -> Loader:
    return lambda: read_label_map(path)


def check_modes(n_modes: int, n_subjects: int) -> None:
    """Refuses more modes than subjects allow; leave-one-out needs one fewer still.

    Raises:
      InputError: too few subjects.
    """
    if not 1 <= n_modes <= n_subjects - 1:
        raise InputError(
            "--modes",
            found=f"{n_modes} with {n_subjects} subjects",
            expected=f"1 to {n_subjects - 1}: n subjects span at most n - 1 modes",
        )


def build_from_labels(loaders: dict[str, Loader], plan: BuildPlan) -> StatisticalShapeModel:
    """Surfaces, group-wise registration, model, report. The same call again resumes.

    Raises:
      InputError: a subject's label map cannot be used, see `label_surface`; too many modes.
    """
    check_modes(plan.n_modes, len(loaders))
    surfaces = _read_surfaces(loaders, plan.regions)
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

        found = register_with_record(
            surfaces, plan.options, progress=advance, checkpoint=plan.report / "registration.npz"
        )
    logging.info("registered; measuring the model, which takes a few seconds a subject")
    names = [surface.identity for surface in surfaces]
    residuals = _residuals(found.shapes, surfaces)
    extra = {
        "registration": [iteration._asdict() for iteration in found.record],
        "residual_mm": dict(zip(names, residuals, strict=True)),
    }
    shapes = dataclasses.replace(found.shapes, subjects=tuple(names))
    model = _finish(shapes, plan, surfaces=surfaces, extra=extra)
    worst = int(np.argmax(residuals))
    _picture_of_fit(
        loaders[names[worst]](), found.shapes, worst, plan.report / "worst_fit.png", names[worst], residuals[worst]
    )
    return model


def build_from_shapes(shapes: CorrespondingShapes, plan: BuildPlan) -> StatisticalShapeModel:
    """The model of shapes that are in correspondence already, with its report."""
    check_modes(plan.n_modes, len(shapes.points))
    return _finish(shapes, plan)


def open_shapes(path: str | os.PathLike) -> CorrespondingShapes:
    """Shapes in correspondence from an .npz file or a folder of meshes; "phantom": the project's own hearts.

    Raises:
      InputError: no such file or folder, or shapes that are not in correspondence.
    """
    if str(path) == "phantom":
        return model_hearts()
    return read_corresponding(path) if pathlib.Path(path).is_dir() else CorrespondingShapes.load(path)


def _read_surfaces(loaders: dict[str, Loader], regions: Sequence[int]) -> list[LabelSurface]:
    names = list(loaders)
    wanted = tuple(regions) or _regions_of(loaders[names[0]]())
    with ThreadPoolExecutor(_THREADS) as pool, progress_bar(len(names), "surfaces") as bar:

        def read(name: str) -> LabelSurface:
            volume = loaders[name]()
            if not regions:
                _check_no_others(volume, wanted, name, first=names[0])
            surface = label_surface(volume, identity=name, regions=wanted)
            bar.update()
            return surface

        return list(pool.map(read, names))


def _check_no_others(volume: Volume, regions: Sequence[int], name: str, *, first: str) -> None:
    others = sorted(set(np.unique(volume.array).tolist()) - {0, *regions})
    if others:
        raise InputError(
            name, found=f"regions {others}, which {first} has not", expected="the same regions in all, or --regions"
        )


def _regions_of(volume: Volume) -> tuple[int, ...]:
    """All seven, unless the label map only tells heart from background."""
    return (1,) if np.array_equal(np.unique(volume.array), [0, 1]) else (1, 2, 3, 4, 5, 6, 7)


def _residuals(shapes: CorrespondingShapes, surfaces: Sequence[LabelSurface]) -> list[float]:
    """Mean distance between each registered surface and the subject's own, both ways, over all regions."""
    residuals = []
    for points, surface in zip(shapes.points, surfaces, strict=True):
        own, true = (points, shapes.faces, shapes.region_id), (surface.points, surface.faces, surface.region_id)
        each = [
            mean_surface_distance(*region_surface(*own, region), *region_surface(*true, region))
            for region in surface.regions
        ]
        weights = [np.sum(shapes.region_id == region) for region in surface.regions]
        residuals.append(float(np.average(each, weights=weights)))
    return residuals


def _finish(
    shapes: CorrespondingShapes,
    plan: BuildPlan,
    *,
    surfaces: Sequence[LabelSurface] | None = None,
    extra: dict | None = None,
) -> StatisticalShapeModel:
    """Fits the model, writes it with everything that is known about it."""
    report, names = plan.report, shapes.subjects or [f"shape_{k + 1:03d}" for k in range(len(shapes.points))]
    report.mkdir(parents=True, exist_ok=True)
    plan.out.parent.mkdir(parents=True, exist_ok=True)
    model = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, plan.n_modes)
    model = dataclasses.replace(model, subjects=shapes.subjects)
    true = None if surfaces is None else [(s.points, s.faces, s.region_id) for s in surfaces]
    left_out = min(plan.n_modes, len(names) - 2)
    general = generalisation(shapes, left_out, true) if left_out >= 1 else None
    specific = specificity(model, shapes, n_samples=plan.specificity_samples)
    explained = compactness(shapes)
    shapes.save(report / "shapes.npz")
    mode_figure(report / "modes.png", model, title=f"Modes of {len(names)} hearts")
    if general is not None:
        quality_figure(report / "quality.png", explained, general, shapes.region_id, title=f"{len(names)} hearts")
    export_model(model, report / "meshes")
    quality = {
        "subjects": list(names),
        "modes": plan.n_modes,
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


def _general_record(general: Generalisation, names: Sequence[str]) -> dict:
    return {
        "modes": general.n_modes,
        "mean_surface": float(general.surface_mm.mean()),
        "mean_vertex": float(general.vertex_mm.mean()),
        "surface": dict(zip(names, general.surface_mm.tolist(), strict=True)),
        "vertex": dict(zip(names, general.vertex_mm.tolist(), strict=True)),
    }


def quality_summary(quality: dict) -> str:
    """The report's figures as Markdown."""
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


def _picture_of_fit(
    volume: Volume, shapes: CorrespondingShapes, subject: int, path: pathlib.Path, name: str, residual_mm: float
) -> None:
    """The registered surface over the subject's own label map; an oblique label map is drawn on straight axes."""
    points = shapes.points[subject]
    low, high = points.min(axis=0) - _MARGIN_MM, points.max(axis=0) + _MARGIN_MM
    spacing = float((high - low).max()) / _PICTURE_VOXELS
    shape = tuple(int(n) for n in np.ceil((high - low) / spacing)[::-1])
    grid = Grid(shape, (spacing,) * 3, tuple(low.tolist()))  # type: ignore[arg-type]
    drawn = _sampled(volume, grid)
    title = f"{name}: the worst registration, {residual_mm:.2f} mm on average"
    fit_figure(path, drawn, grid, points, shapes.faces, shapes.region_id, title=title)


def _sampled(volume: Volume, grid: Grid) -> np.ndarray:
    """The label of the voxel in which each voxel of the grid has its centre; 0 outside."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij")
    where = np.stack([x, y, z], axis=-1) * np.array(grid.spacing_mm) + np.array(grid.origin_mm)
    geometry = volume.geometry
    direction = np.array(geometry.direction).reshape(3, 3)
    index = np.rint((where - np.array(geometry.origin_mm)) @ direction / np.array(geometry.spacing_mm)).astype(int)
    inside = np.all((index >= 0) & (index < np.array(volume.array.shape[::-1])), axis=-1)
    clipped = np.clip(index, 0, np.array(volume.array.shape[::-1]) - 1)
    return np.where(inside, volume.array[clipped[..., 2], clipped[..., 1], clipped[..., 0]], 0).astype(np.uint8)
