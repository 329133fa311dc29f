"""Segmentation of several CTs at once: files, folders of files, and folders of DICOM series."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from fedsim_tf.data.case_files import name_scans
from fedsim_tf.data.folders import walk_files
from fedsim_tf.data.formats import VOLUME_SUFFIXES, has_suffix, is_dicom_file
from fedsim_tf.data.mask_writing import MASK_ENDINGS, check_format
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.tools.segment import Segmentation, SegmentationStart, TrainedNetwork, check_outputs, open_network


@dataclasses.dataclass(frozen=True, eq=False)
class ManySegmentations:
    """A trained network and the CTs that it is to segment. `open_many` makes it.

    Attributes:
      network: the network.
      outputs: where the mask of each CT goes.
      mask_format: the masks' format.
      any_values: whether images that are no CTs are segmented too.
    """

    network: TrainedNetwork
    outputs: dict[pathlib.Path, pathlib.Path]
    mask_format: str
    any_values: bool = False

    def run(self, *, refusals: Refusals) -> Iterator[tuple[pathlib.Path, Segmentation]]:
        """Segment one CT after the other, write its mask, and yield the mask's file and the mask.

        A CT that cannot be used does not keep the others from being segmented; `refusals` takes the reason.
        """
        for start in self.open_each(refusals=refusals):
            with refusals.each():
                yield start.output, start.run()

    def open_each(self, *, refusals: Refusals) -> Iterator[SegmentationStart]:
        """Read and check one CT after the other; of those that cannot be used `refusals` takes the reason."""
        for image, output in self.outputs.items():
            with refusals.each():
                yield self.network.open_case(
                    image, output=output, mask_format=self.mask_format, any_values=self.any_values
                )


def open_many(
    fold_dir: str | os.PathLike,
    arm: str,
    *,
    images: Sequence[str | os.PathLike],
    output_dir: str | os.PathLike,
    mask_format: str | None = None,
    any_values: bool = False,
    fit_field_of_view: bool = False,
) -> ManySegmentations:
    """Find the CTs and open the network. No CT is read and nothing is written.

    Args:
      fold_dir: a finished fold of a run.
      arm: the arm whose network is used.
      images: files, folders of DICOM series, and folders with such files or folders somewhere below.
      output_dir: the folder for the masks, which are named after their CTs.
      mask_format: a key of `MASK_ENDINGS`, by default "nifti".
      any_values: whether images that are no CTs are segmented too.
      fit_field_of_view: see `TrainedNetwork`.

    Raises:
      InputError: no CT there, two CTs of one name, a mask that would lie over its CT, no finished run or no such arm.
    """
    chosen = mask_format or "nifti"
    found = find_scans(images)
    folder = pathlib.Path(output_dir)
    if not folder.is_dir() and (folder.exists() or has_suffix(folder, tuple(MASK_ENDINGS.values()))):
        what = "a file" if folder.exists() else "the name of a file"
        raise InputError(output_dir, found=what, expected=f"a folder for the masks of {len(found)} CTs")
    root = pathlib.Path(os.path.commonpath([path.resolve().parent for path in found]))
    names = name_scans([path.resolve() for path in found], root)
    outputs = {image: folder / f"{name}{MASK_ENDINGS[chosen]}" for image, name in zip(found, names, strict=True)}
    check_outputs(list(outputs.values()), inputs=found)
    for image in found:
        check_format(chosen, image)
    network = open_network(fold_dir, arm, fit_field_of_view=fit_field_of_view)
    network.load()
    return ManySegmentations(network, outputs, chosen, any_values)


def find_scans(images: Sequence[str | os.PathLike]) -> list[pathlib.Path]:
    """Return the files of voxels and the folders of DICOM series among or below some paths, each once.

    Raises:
      InputError: a path that is not there, or a folder without any.
    """
    found: dict[pathlib.Path, None] = {}
    for path in map(pathlib.Path, images):
        if not path.exists():
            raise InputError(path, found="no such file or folder", expected="a CT, or a folder with CTs")
        below = [path] if path.is_file() or is_series_folder(path) else _find_below(path)
        if not below:
            raise InputError(path, found="no CT in this folder", expected=f"{', '.join(VOLUME_SUFFIXES)} or DICOM")
        found |= dict.fromkeys(below)
    return list(found)


def is_single(images: Sequence[str | os.PathLike], output: str | os.PathLike) -> bool:
    """Return whether one CT is given and one file is to be written."""
    (first, *others) = map(pathlib.Path, images)
    return not others and not pathlib.Path(output).is_dir() and (not first.is_dir() or is_series_folder(first))


def is_series_folder(path: pathlib.Path) -> bool:
    """Return whether a folder holds DICOM slices of a CT itself."""
    from fedsim_tf.data.dicom_files import CT_KINDS, find_dicom_files

    return path.is_dir() and any(file.kind in CT_KINDS for file in find_dicom_files(path))


def _find_below(folder: pathlib.Path) -> list[pathlib.Path]:
    files = list(walk_files(folder))
    volumes = [path for path in files if has_suffix(path, VOLUME_SUFFIXES)]
    others = (path for path in files if not has_suffix(path, VOLUME_SUFFIXES))
    places = dict.fromkeys(path.parent for path in others if is_dicom_file(path))
    return volumes + [place for place in places if is_series_folder(place)]
