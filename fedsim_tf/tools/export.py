"""Export of a finished run's segmentation network, with a card, as a folder that is used without fedsim_tf."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

import fedsim_tf
from fedsim_tf.arms import ARMS, UPPER_BOUND
from fedsim_tf.errors import InputError
from fedsim_tf.files import make_folder, partial_path, sync_to_disk, write_sums, write_text
from fedsim_tf.metrics import MEASURES
from fedsim_tf.records.fold_data import DATA, LABELLED, UNLABELLED, UPPER_BOUND_PART, VALIDATION, read_fold_data
from fedsim_tf.records.fold_scores import ArmScores, has_scores, read_fold_scores
from fedsim_tf.records.generator_card import find_terms
from fedsim_tf.records.network_card import (
    NETWORK_FILES,
    ONNX,
    LearntFrom,
    NetworkCard,
    Preparation,
    format_network_card,
)
from fedsim_tf.records.versioned import write_record
from fedsim_tf.regions import BACKGROUND, REGIONS, WHOLE_HEART
from fedsim_tf.runs.finished import FinishedFold, open_finished_fold
from fedsim_tf.tools.network_example import write_example
from fedsim_tf.training.run import SITES

if TYPE_CHECKING:  # it imports TensorFlow
    from fedsim_tf.models.unet3d import UNet3D

CARD, PAGE = "network.json", "card.md"
_PACKAGES = {ONNX: ("onnx", "tf2onnx")}  # what a format needs that is not installed with fedsim_tf


@dataclasses.dataclass(frozen=True, eq=False)
class ExportStart:
    """A trained network and the folder that it is to be written to, opened and checked. `open_export` makes it.

    Attributes:
      network: the network, in float32.
      card: what it is.
      output: the folder.
    """

    network: UNet3D
    card: NetworkCard
    output: pathlib.Path

    def run(self) -> None:
        """Write the network, its card and checksums; the folder is there once all of it is."""
        make_folder(self.output.parent)
        partial = partial_path(self.output)
        shutil.rmtree(partial, ignore_errors=True)  # of a process of this number that was killed
        try:
            self._write(partial)
            for path in [*sorted(partial.rglob("*")), partial]:
                sync_to_disk(path)
            os.replace(partial, self.output)
            sync_to_disk(self.output.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _write(self, folder: pathlib.Path) -> None:
        from fedsim_tf.tools.network_files import WRITERS

        make_folder(folder)
        network = folder / NETWORK_FILES[self.card.format]
        WRITERS[self.card.format](self.network, network, size=self.card.preparation.voxels)
        write_record(folder / CARD, self.card)
        write_text(folder / PAGE, format_network_card(self.card, example=write_example(self.card)))
        write_sums(folder, [path for path in folder.rglob("*") if path.is_file()])


def open_export(fold_dir: str | os.PathLike, arm: str, *, output: str | os.PathLike, file_format: str) -> ExportStart:
    """Open all that an export starts from. Nothing is written.

    Args:
      fold_dir: a finished fold of a run; of a federated one, a site's folder in it.
      arm: the arm whose network is exported.
      output: a new or empty folder.
      file_format: a key of `NETWORK_FILES`.

    Raises:
      InputError: another format, one whose packages are not installed, an output with other files, no finished run, an
        arm that it has not finished, or damaged notes or checkpoints of the fold.
    """
    _check_format(file_format)
    folder = pathlib.Path(output).resolve()
    _check_folder(folder)
    fold = open_finished_fold(fold_dir)
    stage = fold.last_stage_of(arm)
    card = _describe(fold, arm, file_format)
    return ExportStart(fold.load_network(stage, precision="float32"), card, folder)


def _check_format(file_format: str) -> None:
    if file_format not in NETWORK_FILES:
        raise InputError("format", value=file_format, must=f"be one of {', '.join(NETWORK_FILES)}")
    missing = [name for name in _PACKAGES.get(file_format, ()) if importlib.util.find_spec(name) is None]
    if missing:
        must = f"be given where {' and '.join(missing)} can be imported: pip install 'fedsim-tf[onnx]'"
        raise InputError("format", value=file_format, must=must)


def _check_folder(output: pathlib.Path) -> None:
    if output.exists() and not output.is_dir():
        raise InputError(output, found="a file", expected="a folder for the network and its card")
    if output.is_dir() and any(output.iterdir()):
        raise InputError(output, found="a folder with other files", expected="a new folder for the network")


def _describe(fold: FinishedFold, arm: str, file_format: str) -> NetworkCard:
    config, site, scores = fold.run.config, _find_site(fold), _find_scores(fold, arm)
    sites = config.federated.sites if ARMS[arm].federated else ()
    regions = None if scores is None else scores.regions
    preparation, learnt_from = _describe_preparation(fold), _count_volumes(fold, arm, sites)

    import tensorflow as tf  # after all that is refused without it

    return NetworkCard(
        format=file_format,
        arm=arm,
        data_set=site,
        phantom=config.is_phantom,
        preparation=preparation,
        labels=_list_labels(config.model.by_region),
        learnt_from=learnt_from,
        scores=None if scores is None else {name: getattr(scores, name) for name in MEASURES},
        region_dice=None if regions is None else {name: region.dice for name, region in regions.items()},
        tested=None if scores is None else len(scores.cases),
        fedsim_tf=fedsim_tf.__version__,
        tensorflow=tf.__version__,
        terms=find_terms(site, phantom=config.is_phantom, sites=sites),
    )


def _find_site(fold: FinishedFold) -> str:
    """Return the data set of a fold, or the site whose folder of a federated fold this is."""
    path = fold.run.path.resolve()
    return path.name if path.parent.name == SITES else fold.run.config.dataset


def _find_scores(fold: FinishedFold, arm: str) -> ArmScores | None:
    site = _find_site(fold)
    if not has_scores(fold.run.path):
        return None
    return read_fold_scores(fold.run.path, site=site).sites.get(site, {}).get(arm)


def _describe_preparation(fold: FinishedFold) -> Preparation:
    config, finder = fold.run.config, fold.read_finder()
    return Preparation(
        voxels=config.model.size,
        window_hu=config.data.window_hu,
        crop_mm=None if finder is None else finder.edge_mm,
        fields_of_view_mm=tuple(fold.fields_of_view_mm()),
    )


def _list_labels(by_region: bool) -> Mapping[int, str]:
    heart = {number: region.structure for number, region in REGIONS.items()} if by_region else {WHOLE_HEART: "Heart"}
    return {BACKGROUND: "background", **heart}


def _count_volumes(fold: FinishedFold, arm: str, sites: tuple[str, ...]) -> LearntFrom | None:
    """Return what an arm has learnt from by the fold's note of its data; None where there is none."""
    file, config, what = fold.run.path / DATA, fold.run.config, ARMS[arm]
    if not file.exists():
        return None
    count = {part: len(volumes) for part, volumes in read_fold_data(file).parts.items()}
    annotated = count.get(UPPER_BOUND_PART if arm == UPPER_BOUND else LABELLED, 0)
    is_plus, is_random, simulated_from = what.simulator.endswith("plus"), what.simulator == "random", (0, 0)
    if what.simulator:
        from_annotated_alone = what.simulator in ("pretrained", "fixed", "random")
        simulated_from = (count.get(LABELLED, 0), 0 if from_annotated_alone else count.get(UNLABELLED, 0))
    synthetic = config.plus.volumes if is_plus or is_random else config.synthesis.volumes
    return LearntFrom(
        annotated=annotated if what.finetuned else 0,
        copies=annotated * config.plus.copies if is_plus and config.plus.finetune_on_copies else 0,
        synthetic=synthetic if what.simulator else 0,
        simulated_from=simulated_from,
        validation=count.get(VALIDATION, 0),
        sites=sites,
    )
