"""Segmentation of a patient's CT with a network that a run has trained."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from absl import logging

from fedsim_tf.data.annotated_hearts import USUAL_ML
from fedsim_tf.data.checks import check_heart, check_image, extent_text, is_unusual_extent
from fedsim_tf.data.crops import Crop
from fedsim_tf.data.formats import VOLUME_SUFFIXES, has_suffix
from fedsim_tf.data.image_values import MOST_LABELS
from fedsim_tf.data.images import volume_to_image
from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.labels import ANY_SITE, make_scheme
from fedsim_tf.data.layouts import LAYOUTS
from fedsim_tf.data.mask_writing import check_format, choose_format, write_mask
from fedsim_tf.data.preprocess import PreparedCase, prepare, resample_to_original, unit_from_hu
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import check_picture
from fedsim_tf.localization.finder import HeartFinder
from fedsim_tf.localization.scouts import make_scout
from fedsim_tf.records.network_card import SAVED_MODEL
from fedsim_tf.runs.finished import FinishedFold, open_finished_fold
from fedsim_tf.volume import Case, Volume

if TYPE_CHECKING:  # it imports TensorFlow
    from fedsim_tf.training.segmentation import Segmenter


@dataclasses.dataclass(frozen=True, eq=False)
class Segmentation:
    """What was found in a CT.

    Attributes:
      mask: the heart on the CT's own grid, or region ids where the network tells regions apart.
      dice: of the heart in percent, where a true label was given.
      region_dice: by region id, where network and true label tell regions apart; see `metrics.region_dice`.
    """

    mask: Volume
    dice: float | None
    region_dice: Mapping[int, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentationStart:
    """A CT and a trained network, opened and checked. `open_segmentation` makes it.

    Attributes:
      image: the CT's file or folder.
      case: the CT in HU.
      prepared: the CT as the network takes it.
      segment: the network.
      output: where the mask goes.
      truth: the true region ids (z, y, x) on the CT's grid, if a label was given.
      picture: where a PNG of three slices goes, if one is wanted.
      mask_format, by_region: see `write_mask`.
    """

    image: pathlib.Path
    case: Case
    prepared: PreparedCase
    segment: Segmenter
    output: pathlib.Path
    truth: np.ndarray | None = None
    picture: pathlib.Path | None = None
    mask_format: str | None = None
    by_region: bool = False

    def run(self) -> Segmentation:
        """Segment the CT, write the mask on exactly the CT's grid, and draw the picture if one is wanted."""
        mask = resample_to_original(self.segment(self.prepared.image), self.prepared, nearest=True)
        if mask.nonzero_ml > USUAL_ML[1]:
            text = "%s: the heart that was found has %.0f ml, where at most %.0f are usual: look at the mask first"
            logging.warning(text, self.image, mask.nonzero_ml, USUAL_ML[1])
        write_mask(mask, self.output, image=self.image, mask_format=self.mask_format, by_region=self.by_region)
        found = self._compare(mask)
        if self.picture:
            draw = _draw_regions if self.by_region else _draw
            draw(self.picture, self.case, mask, self.truth)
        return found

    def _compare(self, mask: Volume) -> Segmentation:
        from fedsim_tf.metrics import annotated_regions, dice, region_dice

        if self.truth is None:
            return Segmentation(mask, None)
        regions = annotated_regions(self.truth[None]) if self.by_region else ()
        return Segmentation(mask, dice(mask.array, self.truth), region_dice(mask.array, self.truth, regions=regions))


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedNetwork:
    """A segmentation network of a finished fold, called with a CT.

    It is loaded when it is first needed, so that CTs are refused without TensorFlow.

    Attributes:
      fold: the fold.
      arm: the arm, which the fold has finished.
      fit_field_of_view: whether each CT is cut, or padded with air, around its middle to a field of view such as those
        that the network has learnt from.
    """

    fold: FinishedFold
    arm: str
    fit_field_of_view: bool = False

    @functools.cached_property
    def segment(self) -> Segmenter:
        """Return the network."""
        return self.fold.load_segmenter(self.fold.last_stage_of(self.arm))

    @functools.cached_property
    def finder(self) -> HeartFinder | None:
        """Return what finds the hearts around which CTs are cropped; None where the network takes whole ones."""
        return self.fold.read_finder()

    def find_crop(self, case: Case, subject: str | os.PathLike) -> Crop | None:
        """Return the part of a CT that the network takes; None for all of it.

        Raises:
          InputError: no heart is found.
        """
        if self.finder is not None:
            return self.finder.crop(make_scout(case), subject=subject)
        return Crop(case.image.middle_mm, self.fold.usual_field_of_view_mm()) if self.fit_field_of_view else None

    def load(self) -> None:
        """Load the network now.

        Raises:
          InputError: its checkpoint is damaged or gone.
        """
        _ = self.segment

    def __call__(self, ct: Volume) -> Volume:
        """Return the heart in a CT.

        Args:
          ct: the CT in HU, with axes in any order and direction.

        Returns:
          The mask on the CT's own grid, uint8: heart or not, or region ids where the network tells regions apart.

        Raises:
          InputError: an image that is no CT, or where volumes are cropped one in which no heart is found.
        """
        case = Case("ct", ct.with_array(ct.array.astype(np.float32)))
        check_image(case.image, case.identity, any_values=False)
        prepared = self._prepare(case, case.identity)
        return resample_to_original(self.segment(prepared.image), prepared, nearest=True)

    def export(self, output: str | os.PathLike, *, file_format: str = SAVED_MODEL) -> None:
        """Write the network, in float32, with a card, as a folder that is used without fedsim_tf.

        Args:
          output: a new or empty folder.
          file_format: "saved_model" for TensorFlow, or "onnx".

        Raises:
          InputError: see `export.open_export`.
        """
        from fedsim_tf.tools.export import open_export

        open_export(self.fold.run.path, self.arm, output=output, file_format=file_format).run()

    def _prepare(self, case: Case, subject: str | os.PathLike) -> PreparedCase:
        """Return a CT as the network takes it; one of unusual extent is warned of."""
        config = self.fold.run.config
        crop = self.find_crop(case, subject)
        prepared = prepare(case, config.model.size, window_hu=config.data.window_hu, crop=crop)
        _warn_of_other_extent(prepared, self.fold.fields_of_view_mm(), subject)
        return prepared

    def open_case(
        self,
        image: str | os.PathLike,
        *,
        output: str | os.PathLike,
        label: str | os.PathLike | None = None,
        picture: str | os.PathLike | None = None,
        mask_format: str | None = None,
        any_values: bool = False,
    ) -> SegmentationStart:
        """Read and check a CT; see `open_segmentation`."""
        case = _read_case(image, any_values=any_values)
        truth = _read_truth(label, case.image, self.fold, image_subject=image) if label else None
        return SegmentationStart(
            pathlib.Path(image),
            case,
            self._prepare(case, image),
            self.segment,
            pathlib.Path(output),
            truth,
            pathlib.Path(picture) if picture else None,
            mask_format,
            self.fold.run.config.model.by_region,
        )


def open_segmentation(
    fold_dir: str | os.PathLike,
    arm: str,
    *,
    image: str | os.PathLike,
    output: str | os.PathLike,
    label: str | os.PathLike | None = None,
    picture: str | os.PathLike | None = None,
    mask_format: str | None = None,
    any_values: bool = False,
    fit_field_of_view: bool = False,
) -> SegmentationStart:
    """Open all that a segmentation starts from. Nothing is written.

    Args:
      fold_dir: a finished fold of a run.
      arm: the arm whose network is used.
      image: the CT in HU, any format that `read_volume` knows.
      output: where the mask goes; its ending says the format.
      label: a true label to score against, as in a data set, RTSTRUCT and SEG too.
      picture: where a PNG of three slices with the outlines goes.
      mask_format: a key of `MASK_ENDINGS`, where the ending leaves a choice.
      any_values: whether an image that is no CT is segmented too.
      fit_field_of_view: see `TrainedNetwork`.

    Raises:
      InputError: files that cannot be read, an image that is no CT, image and label on different grids, an output that
        is one of the inputs, no finished run, or an arm that it has not finished.
    """
    check_outputs([output, picture], inputs=[image, label])
    if picture is not None:
        check_picture(picture)
    check_format(choose_format(output, mask_format), image)
    return open_network(fold_dir, arm, fit_field_of_view=fit_field_of_view).open_case(
        image, output=output, label=label, picture=picture, mask_format=mask_format, any_values=any_values
    )


def open_network(fold_dir: str | os.PathLike, arm: str, *, fit_field_of_view: bool = False) -> TrainedNetwork:
    """Return a fold's network, which is not loaded yet.

    Args:
      fold_dir, arm: the fold and its arm.
      fit_field_of_view: see `TrainedNetwork`.

    Raises:
      InputError: no finished run, an arm that it has not finished, or one whose CTs are to be fitted to a field of view
        that is not known or is a crop around the heart.
    """
    fold = open_finished_fold(fold_dir)
    fold.last_stage_of(arm)  # refuses one that is not finished
    network = TrainedNetwork(fold, arm, fit_field_of_view)
    if fit_field_of_view and network.finder is not None:
        must = "be left out: this network crops each CT around its heart by itself"
        raise InputError("fit_field_of_view", value=True, must=must)
    if fit_field_of_view:
        fold.usual_field_of_view_mm()  # refuses a run that does not know it
    return network


def load_segmenter(
    path: str | os.PathLike, arm: str = "ours_full", *, fit_field_of_view: bool = False
) -> TrainedNetwork:
    """Load a segmentation network that a run has trained. Called with a CT, it returns the heart.

    Args:
      path: a finished fold of the run, such as runs/demo/fold_0; of a federated one, a site's folder in it.
      arm: the arm whose network is taken.
      fit_field_of_view: whether each CT is cut, or padded with air, around its middle to a field of view such as those
        that the network has learnt from.

    Raises:
      InputError: see `open_network`, or a damaged checkpoint.
    """
    network = open_network(path, arm, fit_field_of_view=fit_field_of_view)
    network.load()
    return network


def check_outputs(outputs: Sequence[str | os.PathLike | None], *, inputs: Sequence[str | os.PathLike | None]) -> None:
    """Refuse to write over a CT or the true label, or one result over another, with an InputError."""
    taken = {pathlib.Path(path).resolve() for path in inputs if path}
    for path in (path for path in outputs if path):
        if pathlib.Path(path).resolve() in taken:
            raise InputError(path, found="a file to write that is given as another one too", expected="a new file")
        taken.add(pathlib.Path(path).resolve())


def _read_case(image: str | os.PathLike, *, any_values: bool) -> Case:
    volume = read_volume(image, dtype=np.float32)
    check_image(volume, image, any_values=any_values)
    return Case(pathlib.Path(image).resolve().name, volume)


def _read_truth(
    label: str | os.PathLike, image: Volume, fold: FinishedFold, *, image_subject: str | os.PathLike
) -> np.ndarray:
    """Return region ids (z, y, x) on the image's grid.

    The label may be of any site, unless the run was told what values mean. A value that no site has is background where
    the network's data set takes it for that.
    """
    path, given = pathlib.Path(label), fold.run.config.data.label_values
    try:
        scheme = make_scheme(given) if given else ANY_SITE
        regions = read_label(path, image, scheme, image_subject=image_subject)
    except InputError:
        own = LAYOUTS[fold.run.config.dataset].label_scheme
        if given or not own.others_are_background or not has_suffix(path, VOLUME_SUFFIXES) or not path.is_file():
            raise
        own = dataclasses.replace(own, most_values=MOST_LABELS)  # no CT or picture
        regions = read_label(path, image, own, image_subject=image_subject)
    check_heart(regions, label)
    return regions


def _warn_of_other_extent(
    prepared: PreparedCase, learnt_mm: Sequence[Sequence[float]], subject: str | os.PathLike
) -> None:
    """Warn of a field of view unlike those that the network has seen. The network sees all of it as one cube."""
    found_mm = prepared.field_of_view_mm
    if learnt_mm and all(is_unusual_extent(found_mm, one) for one in learnt_mm):
        text = (
            "%s shows %s mm, the network has learnt from %s mm: its mask will be wrong unless it is cropped or padded "
            "to that, as fit_field_of_view does around its middle"
        )
        logging.warning(text, subject, extent_text(found_mm), extent_text(learnt_mm[0]))


def _draw(path: pathlib.Path, case: Case, mask: Volume, truth: np.ndarray | None) -> None:
    """Draw three slices through the heart, the truth in green and the mask in red."""
    from fedsim_tf.evaluation.figures import panel

    image, found, true, chosen = _cut_slices(case, mask, truth)
    colours = "found red" if true is None else "truth green, found red"
    cells = [(image[k], None if true is None else true[k] > 0, found[k]) for k in chosen]
    panel(path, [cells], columns=[f"slice {k}" for k in chosen], title=f"{case.identity}: {colours}")


def _draw_regions(path: pathlib.Path, case: Case, mask: Volume, truth: np.ndarray | None) -> None:
    """Draw three slices through the heart with regions in colours: the CT, the mask and below it the truth."""
    from fedsim_tf.evaluation.region_figures import region_panel

    image, found, true, chosen = _cut_slices(case, mask, truth)
    rows = [[(image[k], None if ids is None else ids[k]) for k in chosen] for ids in (None, found)]
    if true is not None:
        rows.append([(image[k], true[k]) for k in chosen])
    title = f"{case.identity}: the CT, found" + ("" if true is None else ", truth")
    region_panel(path, rows, columns=[f"slice {k}" for k in chosen], title=title)


def _cut_slices(
    case: Case, mask: Volume, truth: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[int]]:
    """Return image, mask and truth upright, and the numbers of three slices through the heart."""
    from fedsim_tf.evaluation.galleries import heart_slice

    image = unit_from_hu(_turn_upright(case.image, case.image.array), (-250.0, 550.0))
    true = None if truth is None else _turn_upright(case.image, truth.astype(np.uint8))
    found = _turn_upright(case.image, mask.array)
    middle = heart_slice(found if true is None else true)
    step = max(1, len(image) // 8)
    return image, found, true, [k for k in (middle - step, middle, middle + step) if 0 <= k < len(image)]


def _turn_upright(place: Volume, array: np.ndarray) -> np.ndarray:
    """Return an array (z, y, x) with its axes in the order and direction closest to left, back and head."""
    image = sitk.DICOMOrient(volume_to_image(place.with_array(array)), "LPS")
    return sitk.GetArrayFromImage(image)
