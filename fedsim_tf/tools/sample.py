"""Sampling of a generator into a folder: opened and checked without TensorFlow, drawn one volume after the other."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.data.label_writing import choose_written_labels
from fedsim_tf.data.preprocess import unit_from_hu
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation.novelty import find_nearest_hu, summarize_novelty
from fedsim_tf.files import check_picture, hold_during, is_partial, make_folder, write_json, write_text
from fedsim_tf.generator.folder import GeneratorFiles, read_generator
from fedsim_tf.generator.sampling_plan import SamplingPlan, check_mode_weights, check_rendering
from fedsim_tf.progress import progress_bar
from fedsim_tf.records.generator_card import format_card
from fedsim_tf.records.likeness_record import Novelty
from fedsim_tf.records.versioned import Record, convert_to_json, read_record, write_record
from fedsim_tf.runs.inputs import check_files, count_labels, open_cohort, open_fold
from fedsim_tf.tools.sample_formats import SampleFolder, check_labels_for
from fedsim_tf.tools.sample_pictures import choose_shown, draw_volumes
from fedsim_tf.tools.visit import open_folds
from fedsim_tf.training.run import is_federated, reopen_run, site_path

_RECORD, _CARD, _NOVELTY = "sampling.json", "card.md", "novelty.json"


@dataclasses.dataclass(frozen=True, kw_only=True)
class SamplingRecord(Record):
    """What the volumes of a folder were drawn from (sampling.json), so that more are drawn from the same.

    Attributes:
      generator, rendering: `GeneratorFiles.digest` of the two; rendering is None where it is the generator's own.
      format, label_values: as they were given.
      plan: the plan's values; without the count, unless volumes are interpolated.
    """

    REMEDY: ClassVar[str] = "sample into another folder"

    generator: str
    rendering: str | None = None
    format: str
    label_values: str
    plan: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class TrainingVolumes:
    """The volumes that a generator has learnt from, which are not opened yet.

    Attributes:
      config: of the run's fold.
      site: the data set.
      fold: its number.
      federated: whether the run is.
    """

    config: Config
    site: str
    fold: int
    federated: bool

    def load(self, cache_dir: pathlib.Path) -> np.ndarray:
        """Return the images (n, z, y, x) of the training part, in [-1, 1].

        Raises:
          InputError: files that cannot be used.
        """
        cohort = open_cohort(self.config, self.site, cache_dir=cache_dir)
        labels = count_labels(self.config, self.site, federated=self.federated)
        return open_fold(self.config, cohort, fold=self.fold, n_labelled=labels, cache_dir=cache_dir).training_images


@dataclasses.dataclass(frozen=True, eq=False)
class SamplingStart:
    """A generator and a folder for its volumes, opened and checked. `open_sampling` makes it.

    Attributes:
      files, rendering: see `Generator`.
      plan: which volumes.
      folder: where they go.
      record: what is noted of them there.
      training: what they are compared with; None: nothing.
      cache_dir: where prepared volumes are kept.
      picture: where a PNG of some volumes goes; None: nowhere.
    """

    files: GeneratorFiles
    rendering: GeneratorFiles | None
    plan: SamplingPlan
    folder: SampleFolder
    record: SamplingRecord
    training: TrainingVolumes | None
    cache_dir: pathlib.Path
    picture: pathlib.Path | None = None

    @property
    def missing(self) -> list[int]:
        """The numbers of the samples that are still to be drawn."""
        return [number for number in range(self.plan.count) if not self.folder.has(number)]

    def run(self) -> Novelty | None:
        """Draw and write what is not there yet; return how near the plan's volumes come to real ones, where asked."""
        make_folder(self.folder.path)
        with hold_during(self.folder.path):
            write_record(self.folder.path / _RECORD, self.record)
            write_text(self.folder.path / _CARD, format_card(self.files.card))
            self.folder.remove_unfinished()
            if self.missing:
                self._draw(self.missing)
            self.folder.write_index()
            if self.picture is not None:
                self._draw_picture(self.picture)
            return None if self.training is None else self._compare(self.training)

    def _draw(self, numbers: Sequence[int]) -> None:
        from fedsim_tf.generator.sampler import Generator

        generator = Generator(self.files, rendering=self.rendering)
        with progress_bar(self.plan.count, "sampling", done=self.plan.count - len(numbers)) as bar:
            for volume in generator.draw(self.plan, numbers):
                self.folder.write(volume)
                bar.update()

    def _draw_picture(self, path: pathlib.Path) -> None:
        shown = {
            number: (self.folder.image(number), self.folder.label(number)) for number in choose_shown(self.plan.count)
        }
        window_hu = (self.rendering or self.files).config.data.window_hu
        draw_volumes(path, shown, window_hu=window_hu)

    def _compare(self, training: TrainingVolumes) -> Novelty:
        """Write each volume's distance to the nearest training volume, and return their summary."""
        real, window_hu = training.load(self.cache_dir), training.config.data.window_hu
        distances = {}
        for number in range(self.plan.count):
            image = self.folder.image(number)
            values = unit_from_hu(read_volume(image).array, window_hu)
            distances[image.name] = find_nearest_hu(values, real, window_hu)
        novelty = summarize_novelty(list(distances.values()), real, window_hu)
        write_json(self.folder.path / _NOVELTY, {**convert_to_json(novelty), "nearest_hu": distances})
        return novelty


def open_sampling(
    generator: str | os.PathLike,
    output: str | os.PathLike,
    plan: SamplingPlan,
    *,
    file_format: str,
    label_values: str = "",
    rendering: str | os.PathLike | None = None,
    run: str | os.PathLike | None = None,
    cache_dir: pathlib.Path,
    picture: str | os.PathLike | None = None,
) -> SamplingStart:
    """Open all that sampling starts from. Nothing is written.

    Args:
      generator: its folder.
      output: a new folder, or one that the same call has begun to fill.
      plan: which volumes.
      file_format: a key of `FORMATS`.
      label_values: the values of label maps, see `choose_written_labels`.
      rendering: another generator's folder, whose look the volumes have.
      run: the run, or the fold of a run, that has written the generator: volumes are compared with what it learnt from.
      cache_dir: where prepared volumes are kept.
      picture: where a PNG of some of the volumes goes, in three planes.

    Raises:
      InputError: generators that are none, are damaged or do not fit together, modes or label values that there are
        not, a folder with something else or with volumes drawn otherwise, or another run.
    """
    files = read_generator(generator)
    look = None if rendering is None else read_generator(rendering)
    if look is not None:
        check_rendering(files, look)
    check_mode_weights(plan.modes, files.shape_model.n_modes)
    by_region = files.config.model.by_region
    labels = choose_written_labels(label_values, by_region=by_region, subject="label_values")
    check_labels_for(file_format, labels, text=label_values)
    record = SamplingRecord(
        generator=files.digest,
        rendering=None if look is None else look.digest,
        format=file_format,
        label_values=label_values,
        plan=_note_plan(plan),
    )
    folder = SampleFolder(pathlib.Path(output), file_format, labels)
    _check_output(folder.path, record, {"generator": files.path, "rendering": rendering})
    training = None if run is None else _find_training(run, files)
    if picture is not None:
        check_picture(picture)
    shown = None if picture is None else pathlib.Path(picture)
    return SamplingStart(files, look, plan, folder, record, training, cache_dir, shown)


def _note_plan(plan: SamplingPlan) -> dict[str, Any]:
    """Return what a plan's volumes depend on, as JSON gives it back."""
    values = convert_to_json(dataclasses.replace(plan, modes={}))
    values["modes"] = {str(mode): weight for mode, weight in sorted(plan.modes.items())}
    if plan.interpolate is None:
        del values["count"]
    return values


def _check_output(folder: pathlib.Path, record: SamplingRecord, names: Mapping[str, Any]) -> None:
    """Refuse a folder with other files, or with volumes drawn otherwise; `names` has what its digests are of."""
    if folder.exists() and not folder.is_dir():
        raise InputError(folder, found="a file", expected="a folder for the samples")
    file = folder / _RECORD
    if not file.exists():
        if folder.is_dir() and not all(one.name == ".lock" or is_partial(one) for one in folder.iterdir()):
            raise InputError(folder, found="a folder with other files", expected="a new folder for the samples")
        return
    earlier = read_record(file, SamplingRecord)
    was, now = _list_choices(earlier), _list_choices(record)
    changed = [name for name in was | now if was.get(name) != now.get(name)]
    changed.sort(key=lambda name: name == "count")  # which is noted where volumes are interpolated alone
    if changed:
        name = changed[0]
        meant = "the same" if name in names else _show_choice(was.get(name)) or "left out"
        must = f"be {meant} as for the volumes in {folder}; others go to another folder"
        raise InputError(name, value=names.get(name) or _show_choice(now.get(name)) or "left out", must=must)


def _list_choices(record: SamplingRecord) -> dict[str, Any]:
    """Return all that volumes depend on, by the name under which a caller chooses it."""
    others = {name: getattr(record, name) for name in ("generator", "rendering", "format", "label_values")}
    return others | record.plan


def _show_choice(value: Any) -> str:
    """Return a choice as the caller writes it."""
    if isinstance(value, dict):
        value = ",".join(f"{key}:{one:g}" for key, one in value.items())
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    return "" if value is None else str(value)


def _find_training(run: str | os.PathLike, files: GeneratorFiles) -> TrainingVolumes:
    """Return the volumes of the fold that has written a generator."""
    folds = open_folds(run)
    if len(folds) > 1:
        expected = f"one of them, such as {folds[0].run.path}"
        raise InputError("run", value=f"a run of {len(folds)} folds", must=f"be {expected}")
    (fold,) = folds
    site, federated = files.card.data_set, is_federated(fold.run.path)
    config = reopen_run(site_path(fold.run.path, site)).config if federated else fold.config
    if not federated and config.dataset != site:
        raise InputError("run", value=run, must=f"be one on {site}, which the generator has learnt from")
    if config.model.size != files.config.model.size:
        raise InputError("run", value=run, must=f"have volumes of {files.config.model.size} voxels an edge")
    check_files(config)
    return TrainingVolumes(config, site, fold.number, federated)
