"""Group-wise registration of labelled surfaces: one template mesh comes into correspondence with all subjects."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from fedsim_tf.errors import InputError
from fedsim_tf.shape.label_surfaces import LabelSurface, SurfaceSample, sample, vertex_normals
from fedsim_tf.shape.registration import alignment, mixture
from fedsim_tf.shape.registration.alignment import Similarity
from fedsim_tf.shape.registration.deformation import displacement, kernel_factor
from fedsim_tf.shape.registration.mixture import Mixture, Statistics
from fedsim_tf.shape.registration.options import RegistrationOptions
from fedsim_tf.shape.registration.refinement import RegionPoints, Triangulation, fine_displacement, project
from fedsim_tf.shape.registration.state import State, registration_digest
from fedsim_tf.shape.surfaces import CorrespondingShapes
from fedsim_tf.shape.template import find_medoid, make_template

Progress = Callable[[int, int, str], None]
STAGES = ("similarity", "coherent", "fine", "projection")
_FIRST_NU, _FIRST_KAPPA = 3.0, 1.0
_LEAST_SHARE = 0.05  # relative to an even share, so that no component dies out


class Iteration(NamedTuple):
    """The mixture after an iteration.

    Attributes:
      stage: name of the stage, one of `STAGES`.
      sigma_mm: spread.
      kappa: concentration of the normals.
      nu: mean of the degrees of freedom.
    """

    stage: str
    sigma_mm: float
    kappa: float
    nu: float


class Registration(NamedTuple):
    """The corresponding shapes, each in its own patient's mm, and the record of the iterations."""

    shapes: CorrespondingShapes
    record: tuple[Iteration, ...]


def register_groupwise(
    surfaces: Sequence[LabelSurface],
    options: RegistrationOptions | None = None,
    *,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike | None = None,
) -> Registration:
    """Bring a template into correspondence with all subjects at once, by generalised coherent point drift.

    The method is EM with Student's t on positions and von Mises-Fisher on normals (Ravikumar et al., MICCAI 2017).
    Points of a region belong to components of that region only; similarity transforms and displacements are common to
    all regions. First come similarity transforms and a free mean, then coherent displacements (Myronenko & Song 2010)
    of a mesh that becomes the group's mean again and again, then finer ones, and last steps along the normals onto the
    surfaces.

    Args:
      surfaces: two subjects or more, with the same regions, in mm.
      options: the settings; None for the defaults.
      progress: called after each iteration with the iterations done, their total, and a text.
      checkpoint: a file that is written after each iteration, and from which a stopped registration goes on; the
        result is the same bit for bit.

    Returns:
      The shapes, with points (n, M, 3) in each subject's own mm on closed surfaces, and an entry for each iteration.

    Raises:
      InputError: too few subjects, subjects with other regions, or the checkpoint of something else.
    """
    options = options or RegistrationOptions()
    _check(surfaces)
    # BLAS has one thread, as subjects run side by side, and so that sums do not depend on the number of threads.
    with threadpool_limits(1), ThreadPoolExecutor(options.workers) as pool:
        run = _Registration(surfaces, options, pool)
        digest = registration_digest(surfaces, options) if checkpoint is not None else ""
        state = State.load(checkpoint, digest) if checkpoint is not None else None
        state = run.start() if state is None else state
        for iteration in range(int(state.iteration), len(run.plan)):
            run.step(state)
            if checkpoint is not None:
                state.save(checkpoint, digest)
            if progress is not None:
                stage, sigma, kappa, _ = state.record[-1]
                text = f"{STAGES[int(stage)]}: sigma {sigma:.2f} mm, kappa {kappa:.1f}"
                progress(iteration + 1, len(run.plan), text)
    record = tuple(Iteration(STAGES[int(row[0])], *map(float, row[1:])) for row in state.record)
    points = np.stack([state.similarity(k).undo(state.instances[k]) for k in range(len(surfaces))])
    return Registration(CorrespondingShapes(points, state.faces, state.region_id), record)


def _check(surfaces: Sequence[LabelSurface]) -> None:
    if len(surfaces) < 2:
        raise InputError("surfaces", found=f"{len(surfaces)} subjects", expected="at least two")
    for surface in surfaces[1:]:
        if surface.regions != surfaces[0].regions:
            raise InputError(
                surface.identity, found=f"regions {surface.regions}", expected=f"{surfaces[0].regions}, as of the first"
            )


class _Registration:
    """A registration that runs: the subjects' samples and the steps of the stages."""

    def __init__(self, surfaces: Sequence[LabelSurface], options: RegistrationOptions, pool: ThreadPoolExecutor):
        self.surfaces, self.options, self.pool = surfaces, options, pool
        self.samples = self._map(lambda surface: sample(surface, options.points, options.seed), surfaces)
        rounds = (options.rigid_iterations, options.coherent_iterations, options.fine_iterations, options.projections)
        self.plan = [stage for stage, count in enumerate(rounds) for _ in range(count)]
        self._fine_factor: np.ndarray | None = None

    def _map(self, function: Callable, *arguments: Iterable) -> list[Any]:
        return list(self.pool.map(function, *arguments))

    @functools.cached_property
    def chosen(self) -> int:
        """Return the index of the subject whose mesh becomes the template."""
        return find_medoid(self.surfaces)

    @functools.cached_property
    def dense(self) -> list[SurfaceSample]:
        """Return many points of each subject, drawn without spreading them out."""
        points, seed = self.options.fine_points, self.options.seed
        return self._map(lambda surface: _draw_points(surface, points, seed), self.surfaces)

    def start(self) -> State:
        """Return the first state: the chosen subject's template, and all subjects aligned by their regions' centres."""
        template = make_template(self.surfaces[self.chosen], self.options.components)
        n, size = len(self.surfaces), len(template.points)
        transforms = [_align_centres(one, self.samples[self.chosen]) for one in self.samples]
        centre = template.points.mean(axis=0)
        mesh = Triangulation(template.faces, size).unfold(template.points)
        points = mesh - centre
        shares = 1 / np.bincount(template.region_id)[template.region_id]
        state = State(
            iteration=np.array(0),
            points=points,
            normals=vertex_normals(points, template.faces),
            faces=template.faces,
            region_id=template.region_id,
            instances=np.repeat(mesh[None], n, axis=0),  # in the chosen subject's mm until `_leave_free_mean`
            scale=np.ones(n),
            rotation=np.zeros((n, 3, 3)),
            translation=np.zeros((n, 3)),
            log_share=np.log(shares),
            nu=np.full(size, _FIRST_NU),
            scalars=np.array([self.options.sigma_mm, _FIRST_KAPPA]),
            record=np.zeros((0, 4)),
        )
        state.set_similarities(
            [transform._replace(translation=transform.translation - centre) for transform in transforms]
        )
        if self.options.rigid_iterations == 0:
            self._leave_free_mean(state)
        return state

    def step(self, state: State) -> None:
        """Do one iteration, in place."""
        stage = self.plan[int(state.iteration)]
        steps = (self._step_similarity, self._step_coherent, self._step_fine, self._step_projection)
        steps[stage](state)
        state.iteration = state.iteration + 1
        state.record = np.concatenate([state.record, [[stage, *state.scalars, state.nu.mean()]]])

    def _step_similarity(self, state: State) -> None:
        """Do EM of similarity transforms and a free mean; the mesh keeps to its subject until this stage is over."""
        sigma, kappa = state.scalars
        parts = self._map(lambda k: self._expect(state, k, state.points, state.normals), range(len(self.surfaces)))
        steps = [
            alignment.fit_statistics(part, state.points, state.normals, sigma=sigma, kappa=kappa) for part in parts
        ]
        steps = _remove_drift(steps)
        moved = mixture.add([_move_statistics(part, step) for part, step in zip(parts, steps, strict=True)])
        state.set_similarities([step.compose(state.similarity(k)) for k, step in enumerate(steps)])
        points = moved.position / np.maximum(moved.weight, 1e-9)[:, None]
        state.normals = mixture.normalize(moved.normal)
        cosines = np.linalg.norm(moved.normal, axis=1).sum()
        self._update_mixture(state, moved, squared=moved.squared_distances(points), cosines=cosines)
        counts = np.bincount(state.region_id, moved.responsibility)[state.region_id]
        even = 1 / np.bincount(state.region_id)[state.region_id]
        state.log_share = np.log(np.maximum(moved.responsibility / counts, _LEAST_SHARE * even))
        state.points = points
        if int(state.iteration) + 1 == self.options.rigid_iterations:
            self._leave_free_mean(state)

    def _leave_free_mean(self, state: State) -> None:
        """Turn free components into the chosen subject's mesh, with even shares as its vertices are evenly spread."""
        state.points = state.similarity(self.chosen).move_points(state.instances[self.chosen])
        state.normals = vertex_normals(state.points, state.faces)
        state.instances = np.repeat(state.points[None], len(self.surfaces), axis=0)
        state.log_share = -np.log(np.bincount(state.region_id)[state.region_id])

    def _step_coherent(self, state: State) -> None:
        """Do sweeps of EM of displacements of the mean mesh, then take the mean anew."""
        factor = kernel_factor(state.points, self.options.beta_mm, self.options.rank)
        for _ in range(self.options.sweeps):
            found = self._map(lambda k: self._deform(state, k, factor), range(len(self.surfaces)))
            state.instances = np.stack([instance for instance, _, _, _ in found])
            total = mixture.add([part for _, part, _, _ in found])
            squared, cosines = (sum(one[place] for one in found) for place in (2, 3))
            self._update_mixture(state, total, squared=squared, cosines=cosines)
        self._to_mean(state)

    def _deform(self, state: State, k: int, factor: np.ndarray) -> tuple[np.ndarray, Statistics, float, float]:
        """Return a subject's new instance, its statistics, its squared distances and its summed cosines."""
        normals = vertex_normals(state.instances[k], state.faces)
        part = self._expect(state, k, state.instances[k], normals)
        force = part.position - part.weight[:, None] * state.points
        sigma = float(state.scalars[0])
        stiffness = self.options.stiffness * sigma**2
        instance = state.points + displacement(factor, part.weight, force, stiffness=stiffness)
        cosines = float(np.sum(vertex_normals(instance, state.faces) * part.normal))
        return instance, part, part.squared_distances(instance), cosines

    def _to_mean(self, state: State) -> None:
        """Align the instances to their mean, and make the mean the template."""
        steps = _remove_drift([alignment.fit_points(instance, state.points) for instance in state.instances])
        state.instances = np.stack([step.move_points(one) for step, one in zip(steps, state.instances, strict=True)])
        state.set_similarities([step.compose(state.similarity(k)) for k, step in enumerate(steps)])
        state.points = state.instances.mean(axis=0)
        state.normals = vertex_normals(state.points, state.faces)

    def _step_fine(self, state: State) -> None:
        """Move the instances a little towards many more points, with a spread that falls."""
        if self._fine_factor is None:  # it is kept, as the template does not change any more
            self._fine_factor = kernel_factor(state.points, self.options.fine_beta_mm, 2 * self.options.rank)
        first = self.options.rigid_iterations + self.options.coherent_iterations
        left = self.options.fine_iterations - (int(state.iteration) - first)
        floor = self.options.fine_sigma_mm
        state.scalars[0] = floor * (max(state.scalars[0], floor) / floor) ** ((left - 1) / left)

        # Drawn before the pool works: drawing needs the pool's threads, which would wait for themselves.
        dense, factor = self.dense, self._fine_factor

        def refine(k: int) -> np.ndarray:
            instance = state.instances[k]
            components = Mixture(
                instance, vertex_normals(instance, state.faces), state.log_share, state.nu, *map(float, state.scalars)
            )
            regions = self._regions(state, k, dense[k])
            return instance + fine_displacement(
                regions, components, factor=factor, stiffness=self.options.fine_stiffness
            )

        state.instances = np.stack(self._map(refine, range(len(self.surfaces))))

    def _step_projection(self, state: State) -> None:
        """Step along the normals onto all of each subject's surface."""
        mesh = Triangulation(state.faces, len(state.points))

        def project_subject(k: int) -> np.ndarray:
            surface = self.surfaces[k]
            whole = SurfaceSample(surface.points, surface.normals, surface.region_id)
            return project(state.instances[k], mesh, self._regions(state, k, whole))

        state.instances = np.stack(self._map(project_subject, range(len(self.surfaces))))

    def _regions(self, state: State, k: int, points: SurfaceSample) -> list[RegionPoints]:
        """Return a subject's points by region, in the template's frame."""
        transform = state.similarity(k)
        found = []
        for region in np.unique(state.region_id):
            mine = points.region_id == region
            start, stop = np.searchsorted(state.region_id, [region, region + 1])
            placed, turned = transform.move_points(points.points[mine]), transform.turn_normals(points.normals[mine])
            found.append(RegionPoints(placed, turned, slice(start, stop)))
        return found

    def _expect(self, state: State, k: int, points: np.ndarray, normals: np.ndarray) -> Statistics:
        """Return the statistics of the E-step of one subject, region by region."""
        components = Mixture(points, normals, state.log_share, state.nu, *map(float, state.scalars))
        regions = self._regions(state, k, self.samples[k])
        return mixture.join(
            [mixture.expectation(one.points, one.normals, components.part(one.components)) for one in regions]
        )

    def _update_mixture(self, state: State, total: Statistics, *, squared: float, cosines: float) -> None:
        """Set sigma, kappa and nu of the whole group."""
        mass = total.responsibility.sum()
        sigma = max(np.sqrt(squared / (3 * mass)), self._sigma_floor(int(state.iteration)))
        kappa = min(mixture.update_kappa(float(cosines / mass)), self.options.most_kappa)
        state.scalars = np.array([sigma, kappa])
        state.nu = mixture.update_nu(state.nu, total)

    def _sigma_floor(self, iteration: int) -> float:
        """Return the sigma below which the mixture may not fall yet.

        Components are so dense that each point has one near it, right or wrong. So the EM's own sigma is small from the
        start, and correspondence would freeze before the shapes have met.
        """
        start, end = self.options.sigma_mm, self.options.least_sigma_mm
        done = iteration + 1 - self.options.rigid_iterations
        return start * (min(end, start) / start) ** (max(done, 0) / self.options.coherent_iterations)


def _move_statistics(part: Statistics, step: Similarity) -> Statistics:
    """Return a subject's statistics in the frame to which `step` brings it."""
    turned = step.scale * part.position @ step.rotation.T
    position = turned + part.weight[:, None] * step.translation
    inner = step.scale**2 * part.squares + 2 * turned.sum(axis=0) @ step.translation
    squares = inner + part.weight.sum() * step.translation @ step.translation
    return part._replace(position=position, normal=part.normal @ step.rotation.T, squares=float(squares))


def _remove_drift(steps: list[Similarity]) -> list[Similarity]:
    """Return the steps with scales of geometric mean one; without that all would shrink together."""
    shrinkage = np.exp(np.mean([np.log(step.scale) for step in steps]))
    return [Similarity(s.scale / shrinkage, s.rotation, s.translation / shrinkage) for s in steps]


def _align_centres(moving: SurfaceSample, fixed: SurfaceSample) -> Similarity:
    """Return the transform that aligns the regions' centres; fewer than three give translation and size only."""
    regions = np.unique(fixed.region_id)
    centres = [np.stack([s.points[s.region_id == region].mean(axis=0) for region in regions]) for s in (moving, fixed)]
    if len(regions) >= 3:
        return alignment.fit_points(*centres)
    sizes = [np.sqrt(np.var(s.points, axis=0).sum()) for s in (moving, fixed)]
    scale = float(sizes[1] / sizes[0])
    return Similarity(scale, np.eye(3), fixed.points.mean(axis=0) - scale * moving.points.mean(axis=0))


def _draw_points(surface: LabelSurface, n: int, seed: int) -> SurfaceSample:
    """Return about n of the vertices, drawn at random from all regions alike."""
    rng = np.random.default_rng([seed, 1])
    total = len(surface.points)
    numbers = np.sort(rng.choice(total, min(n, total), replace=False))
    return SurfaceSample(surface.points[numbers], surface.normals[numbers], surface.region_id[numbers])
