"""Folders of samples: the formats in which other programs take them, and which samples are there already."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedsim_tf.data.label_writing import WrittenLabels
from fedsim_tf.data.slicer_writing import write_slicer_segments
from fedsim_tf.data.writing import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import is_partial, write_text
from fedsim_tf.regions import BACKGROUND

if TYPE_CHECKING:  # it imports TensorFlow
    from fedsim_tf.generator.sampler import GeneratedVolume

_NAME = "synthetic_{:03d}"


@dataclasses.dataclass(frozen=True)
class SampleFormat:
    """Where the files of a sample lie in a folder, after its name.

    Attributes:
      image, label: paths with `{}` for the sample's name.
      index: the name of a file that lists all samples, and what it holds, given their images and labels.
    """

    image: str
    label: str
    index: tuple[str, Callable[[Sequence[tuple[str, str]], WrittenLabels], dict[str, Any]]] | None = None


def _describe_nnunet(files: Sequence[tuple[str, str]], labels: WrittenLabels) -> dict[str, Any]:
    """Return the dataset.json of nnU-Net v2 (its documentation/dataset_format.md)."""
    values = {structure.name: structure.value for structure in labels.structures}
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": BACKGROUND, **values},
        "numTraining": len(files),
        "file_ending": ".nii.gz",
    }


def _list_for_monai(files: Sequence[tuple[str, str]], labels: WrittenLabels) -> dict[str, Any]:
    """Return the datalist that MONAI's `load_decathlon_datalist` reads."""
    values = {str(structure.value): structure.name for structure in labels.structures}
    return {
        "modality": {"0": "CT"},
        "labels": {str(BACKGROUND): "background", **values},
        "numTraining": len(files),
        "training": [{"image": image, "label": label} for image, label in files],
    }


FORMATS: Mapping[str, SampleFormat] = {
    "nifti": SampleFormat("{}_image.nii.gz", "{}_label.nii.gz"),
    "nnunet": SampleFormat("imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz", ("dataset.json", _describe_nnunet)),
    "monai": SampleFormat("images/{}.nii.gz", "labels/{}.nii.gz", ("datalist.json", _list_for_monai)),
    "nrrd": SampleFormat("{}.nrrd", "{}.seg.nrrd"),
}


def check_labels_for(file_format: str, labels: WrittenLabels, *, text: str) -> None:
    """Refuse label values that a format does not take: those of nnU-Net count up from 1.

    Raises:
      InputError: the subject is "label_values".
    """
    values = [structure.value for structure in labels.structures]
    if file_format == "nnunet" and values != list(range(1, len(values) + 1)):
        raise InputError("label_values", value=repr(text), must="have the values 1, 2, 3 and so on for nnunet")


class SampleFolder:
    """A folder of samples in one format.

    Args:
      path: the folder.
      file_format: a key of `FORMATS`.
      labels: the values that label maps have.
    """

    def __init__(self, path: pathlib.Path, file_format: str, labels: WrittenLabels):
        self.path, self._labels = path, labels
        self._format = FORMATS[file_format]

    def image(self, number: int) -> pathlib.Path:
        """Return the file of a sample's image."""
        return self.path / self._format.image.format(_NAME.format(number))

    def label(self, number: int) -> pathlib.Path:
        """Return the file of a sample's label."""
        return self.path / self._format.label.format(_NAME.format(number))

    def has(self, number: int) -> bool:
        """Return whether a sample is there: both of its files, each of which is whole or not there."""
        return self.image(number).is_file() and self.label(number).is_file()

    def list_numbers(self) -> list[int]:
        """Return the numbers of the samples that are there, ascending."""
        return sorted(number for number in self._find_images() if self.has(number))

    def remove_unfinished(self) -> None:
        """Remove what a process that was stopped has left of a sample: readers would miss its other file."""
        for file in self.path.rglob("*"):
            if is_partial(file):
                file.unlink()
        for number in self._find_images():
            if not self.has(number):
                self.image(number).unlink()

    def _find_images(self) -> list[int]:
        before, _, after = self._format.image.rpartition("{}")
        pattern = re.compile(rf"{_NAME.partition('{')[0]}(\d{{3,}}){re.escape(after)}")
        folder = self.path / before
        names = [pattern.fullmatch(file.name) for file in folder.iterdir()] if folder.is_dir() else []
        return [int(found[1]) for found in names if found]

    def write(self, volume: GeneratedVolume) -> None:
        """Write a sample.

        Raises:
          InputError: a place that cannot be written to.
        """
        image, path = self.image(volume.number), self.label(volume.number)
        label = volume.label.with_array(self._labels.encode(volume.label.array))
        write_volume(volume.image, image)
        if path.name.endswith(".seg.nrrd"):
            write_slicer_segments(label, path, self._labels.structures)
        else:
            write_volume(label, path)

    def write_index(self) -> None:
        """Write the file that lists all samples that are there, where the format has one."""
        if self._format.index is None:
            return
        name, describe = self._format.index
        files = [
            tuple(str(file.relative_to(self.path)) for file in (self.image(number), self.label(number)))
            for number in self.list_numbers()
        ]
        write_text(self.path / name, json.dumps(describe(files, self._labels), indent=2) + "\n")  # type: ignore[arg-type]
