"""Writing of label maps as segmentations of 3D Slicer (.seg.nrrd), which have names and colours there."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from fedsim_tf.data.label_writing import WrittenStructure
from fedsim_tf.data.research_files import write_research_file
from fedsim_tf.volume import Volume


def write_slicer_segments(label: Volume, path: pathlib.Path, structures: Sequence[WrittenStructure]) -> None:
    """Write a label map as a segmentation with one layer.

    Args:
      label: values that stand for the structures.
      path: the .seg.nrrd file.
      structures: all that the values may stand for; those that the label lacks become empty segments.

    Raises:
      InputError: see `write_research_file`.
    """
    fields = {
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for number, structure in enumerate(structures):
        described = _describe_segment(label.array == structure.value, structure)
        fields |= {f"Segment{number}_{name}": value for name, value in described}
    write_research_file(label, path, fields=fields)


def _describe_segment(mask: np.ndarray, structure: WrittenStructure) -> Iterator[tuple[str, str]]:
    """Yield the header's fields of one segment, as Slicer's vtkMRMLSegmentationStorageNode writes them."""
    yield "ID", structure.name
    yield "Name", structure.structure
    yield "Color", " ".join(f"{channel / 255:.6f}" for channel in structure.colour)
    yield "LabelValue", str(structure.value)
    yield "Layer", "0"
    # first and last voxel along x, y and z; an empty segment ends before it begins
    extents = [np.flatnonzero(mask.any(axis=axes)) for axes in ((0, 1), (0, 2), (1, 2))]
    yield "Extent", " ".join(f"{found[0]} {found[-1]}" if len(found) else "0 -1" for found in extents)
