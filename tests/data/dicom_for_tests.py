"""Tiny DICOM series, written with pydicom element by element."""

import functools
import pathlib

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian

from fedsim_tf.data.dicom_files import CT_CLASS
from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.labels import CANONICAL
from fedsim_tf.data.reading import read_volume
from fedsim_tf.volume import Volume

STUDY, FRAME = "1.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.2"
SPACING, ORIGIN = (8.0, 6.0, 25.0), (-10.0, 20.0, -30.0)  # x, y, z


def new_dataset(sop_class: str, *, series: str, instance: str, modality: str, patient: str = "anna") -> pydicom.Dataset:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = instance
    dataset.Modality, dataset.PatientID, dataset.PatientName = modality, patient, patient
    dataset.PatientBirthDate = dataset.PatientSex = dataset.StudyDate = dataset.StudyTime = ""
    dataset.StudyID = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, series, FRAME
    return dataset


def write_series(
    folder: pathlib.Path,
    stored: np.ndarray,
    *,
    series: str = "1.2.3",
    patient: str = "anna",
    heights=None,
    slope=1.0,
    intercept=-1024.0,
    lean_mm: float = 0.0,
    axes=(1, 0, 0, 0, 1, 0),
    prefix: str = "",
    **elements,
) -> list[pathlib.Path]:
    """Write stored values (z, y, x); file names run against the slices' order. `lean_mm` moves each slice along y."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    normal = np.cross(axes[:3], axes[3:])
    heights = np.arange(len(stored)) * SPACING[2] if heights is None else heights
    for k, (pixels, height) in enumerate(zip(stored, heights, strict=True)):
        one = new_dataset(CT_CLASS, series=series, instance=f"{series}.{k + 1}", modality="CT", patient=patient)
        place = np.array(ORIGIN) + normal * height + [0, lean_mm * k, 0]
        one.ImagePositionPatient, one.ImageOrientationPatient = [f"{v:.6g}" for v in place], list(axes)
        one.PixelSpacing = [SPACING[1], SPACING[0]]
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, 0
        one.InstanceNumber, one.SliceThickness = k + 1, SPACING[2]
        one.RescaleSlope = slope[k] if np.ndim(slope) else slope
        one.RescaleIntercept = intercept
        one.PixelData = pixels.astype("<u2").tobytes()
        for name, value in elements.items():
            setattr(one, name, value)
        path = folder / f"{prefix}{len(stored) - k:03d}.dcm"
        one.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def stored_values(shape=(5, 6, 7), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 3000, shape).astype(np.uint16)


@functools.cache
def read_real_heart(folder: pathlib.Path, plan: pathlib.Path) -> tuple[Volume, np.ndarray]:
    """Return a real CT and the heart of its RTSTRUCT, read once for all tests."""
    image = read_volume(folder)
    return image, read_label(plan, image, CANONICAL, image_subject="ct")
