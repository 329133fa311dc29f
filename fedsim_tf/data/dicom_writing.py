"""A heart mask, or its regions, as DICOM: a SEG or an RTSTRUCT that refers to the slices of its CT."""

from __future__ import annotations

import datetime
import pathlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import fedsim_tf
from fedsim_tf.data.dicom_files import RTSTRUCT_CLASS, read_dataset
from fedsim_tf.data.dicom_series import check_series, select_ct_series
from fedsim_tf.data.grid_places import find_places_mm
from fedsim_tf.errors import InputError
from fedsim_tf.files import write_atomically
from fedsim_tf.regions import BACKGROUND, REGIONS
from fedsim_tf.volume import Volume

if TYPE_CHECKING:  # they take half a second to import
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

_DESCRIPTION = "Heart, automatic, for research"
# Elements that DICOM wants in every object, empty where the CT has lost them (PS3.3 C.7.1.1, C.7.2.1).
_PATIENT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName")


class Structure(NamedTuple):
    """A structure of a SEG or an RTSTRUCT.

    Attributes:
      name: its name; code: the name of its SNOMED CT code, as pydicom has it.
      rgb: its colour, 0 to 255.
      value: its region id; None: it is wherever the mask is not 0.
    """

    name: str
    code: str
    rgb: tuple[int, int, int]
    value: int | None

    def draw(self, mask: Volume) -> np.ndarray:
        """Return where the structure is (z, y, x), bool."""
        return mask.array != 0 if self.value is None else mask.array == self.value


HEART = Structure("Heart", "Heart", (255, 0, 0), None)


def list_structures(mask: Volume, *, by_region: bool) -> list[Structure]:
    """Return the heart, or each region that a mask of region ids has, in the order of ids."""
    if not by_region:
        return [HEART]
    found = [(number, REGIONS[number]) for number in np.unique(mask.array).tolist() if number != BACKGROUND]
    return [Structure(region.structure, region.code, region.rgb, number) for number, region in found]


def write_dicom_seg(mask: Volume, folder: pathlib.Path, path: pathlib.Path, *, by_region: bool = False) -> None:
    """Write a mask as DICOM SEG on the slices of its CT: one segment, Heart, or one for each region that is there.

    Args:
      mask: not 0 within the heart, on the CT's grid.
      folder: the CT's slices.
      path: the file.
      by_region: whether the mask's values are region ids.

    Raises:
      InputError: no voxel of a heart, or slices that lack what DICOM asks of them.
    """
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian

    slices = _read_slices(mask, folder)
    structures = list_structures(mask, by_region=by_region)
    segments = np.stack([structure.draw(mask) for structure in structures], axis=-1)
    try:
        with warnings.catch_warnings():
            # The patient's name is copied as the CT has it, with one part or several.
            warnings.filterwarnings("ignore", message=".*unlikely to represent the intended person name")
            made = hd.seg.Segmentation(
                source_images=slices,
                pixel_array=segments.astype(np.uint8),
                segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
                segment_descriptions=[_describe_segment(*one) for one in enumerate(structures, start=1)],
                series_instance_uid=hd.UID(),
                series_number=1,
                sop_instance_uid=hd.UID(),
                instance_number=1,
                manufacturer="fedsim_tf",
                manufacturer_model_name="fedsim_tf",
                software_versions=fedsim_tf.__version__,
                device_serial_number="0",
                series_description=_DESCRIPTION,
                content_label="HEART",
                transfer_syntax_uid=ExplicitVRLittleEndian,
            )
    except (AttributeError, ValueError) as error:
        found = f"slices that no SEG can refer to ({' '.join(str(error).split())})"
        raise InputError(folder, found=found, expected="a whole DICOM series, or another format") from error
    with write_atomically(path) as temporary:
        made.save_as(temporary)


def _describe_segment(number: int, structure: Structure) -> SegmentDescription:
    import highdicom as hd
    from pydicom.sr.codedict import codes

    algorithm = hd.AlgorithmIdentificationSequence(
        name="fedsim_tf", family=codes.DCM.ArtificialIntelligence, version=fedsim_tf.__version__
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=structure.name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=getattr(codes.SCT, structure.code),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        display_color=hd.color.CIELabColor.from_rgb(*structure.rgb),
    )


def write_rtstruct(mask: Volume, folder: pathlib.Path, path: pathlib.Path, *, by_region: bool = False) -> None:
    """Write a mask as RTSTRUCT: one structure, Heart, or one for each region that is there.

    Contours run half-way between a structure's pixels and the others.

    Args:
      mask: not 0 within the heart, on the CT's grid.
      folder: the CT's slices.
      path: the file.
      by_region: whether the mask's values are region ids.

    Raises:
      InputError: no voxel of a heart.
    """
    slices = _read_slices(mask, folder)
    made = _new_structure_set(slices)
    made.StructureSetROISequence, made.ROIContourSequence, made.RTROIObservationsSequence = [], [], []
    for number, structure in enumerate(list_structures(mask, by_region=by_region), start=1):
        _add_structure(made, number, structure, mask.with_array(structure.draw(mask)), slices)
    with write_atomically(path) as temporary:
        made.save_as(temporary, enforce_file_format=True)


def _add_structure(made: Dataset, number: int, structure: Structure, mask: Volume, slices: Sequence[Dataset]) -> None:
    """Add a structure and its contours to an RTSTRUCT."""
    made.StructureSetROISequence.append(
        _item(
            ROINumber=number,
            ReferencedFrameOfReferenceUID=made.FrameOfReferenceUID,
            ROIName=structure.name,
            ROIGenerationAlgorithm="AUTOMATIC",
        )
    )
    contours = [
        _item(
            ContourImageSequence=[_refer_to(slices[index])],
            ContourGeometricType="CLOSED_PLANAR",
            NumberOfContourPoints=len(points),
            ContourData=[f"{value:.4f}" for value in points.ravel()],
        )
        for index, points in find_contours_mm(mask)
    ]
    made.ROIContourSequence.append(
        _item(ROIDisplayColor=list(structure.rgb), ContourSequence=contours, ReferencedROINumber=number)
    )
    made.RTROIObservationsSequence.append(
        _item(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="ORGAN", ROIInterpreter="")
    )


def find_contours_mm(mask: Volume) -> list[tuple[int, np.ndarray]]:
    """Return the closed contours (slice, points (n, 3) in mm) around a mask and its holes, slice by slice."""
    from skimage.measure import find_contours

    found = []
    for number in np.flatnonzero(mask.array.any(axis=(1, 2))):
        padded = np.pad(mask.array[number] != 0, 1).astype(np.float32)  # so that contours close at the border
        for contour in find_contours(padded, 0.5):
            rows, columns = contour[:-1].T - 1  # the last point is the first one again
            indices = np.column_stack([columns, rows, np.full(len(rows), number)])
            found.append((int(number), find_places_mm(indices, mask.geometry)))
    return found


def _read_slices(mask: Volume, folder: pathlib.Path) -> list[Dataset]:
    """Return the headers of a CT's slices from the first to the last of the mask's grid."""
    if not np.any(mask.array):
        raise InputError(folder, found="no heart in this CT", expected="a heart, or a file of voxels for an empty mask")
    files = select_ct_series(folder)
    check_series(files, folder)
    if len(files) != len(mask.array):
        raise InputError(folder, found=f"{len(files)} slices", expected=f"{len(mask.array)}, as the mask has")
    slices = [read_dataset(file.path, stop_before_pixels=True) for file in files]
    for one in slices:
        for name in (*_PATIENT, *_STUDY):
            if name not in one:
                setattr(one, name, "")
    return slices


def _new_structure_set(slices: Sequence[Dataset]) -> Dataset:
    """Return an RTSTRUCT without structures, of the patient and study of a CT (PS3.3 A.19.3)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

    ct, made, now = slices[0], Dataset(), datetime.datetime.now()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = UID(RTSTRUCT_CLASS)
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for name in (*_PATIENT, *_STUDY, "SpecificCharacterSet"):
        if name in ct:
            setattr(made, name, ct[name].value)
    made.StudyInstanceUID, made.SeriesInstanceUID = ct.StudyInstanceUID, generate_uid()
    made.Modality, made.SeriesNumber, made.InstanceNumber = "RTSTRUCT", 1, 1
    made.Manufacturer = made.ManufacturerModelName = "fedsim_tf"
    made.SoftwareVersions, made.OperatorsName = fedsim_tf.__version__, ""
    made.SeriesDescription, made.StructureSetLabel = _DESCRIPTION, "HEART"
    made.StructureSetDate, made.StructureSetTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"
    made.ApprovalStatus = "UNAPPROVED"
    made.FrameOfReferenceUID = ct.get("FrameOfReferenceUID") or generate_uid()
    made.PositionReferenceIndicator = ""
    series = _item(SeriesInstanceUID=ct.SeriesInstanceUID, ContourImageSequence=[_refer_to(one) for one in slices])
    study = _item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",  # Detached Study Management, retired, which the part names
        ReferencedSOPInstanceUID=ct.StudyInstanceUID,
        RTReferencedSeriesSequence=[series],
    )
    frame = _item(FrameOfReferenceUID=made.FrameOfReferenceUID, RTReferencedStudySequence=[study])
    made.ReferencedFrameOfReferenceSequence = [frame]
    return made


def _refer_to(ct: Dataset) -> Dataset:
    return _item(ReferencedSOPClassUID=ct.SOPClassUID, ReferencedSOPInstanceUID=ct.SOPInstanceUID)


def _item(**elements: object) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    for name, value in elements.items():
        setattr(item, name, value)
    return item
