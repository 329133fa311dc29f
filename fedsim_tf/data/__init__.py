"""Patients' CTs: reading and checking files, cohorts, five-fold splits and preparation for the networks."""

from fedsim_tf.data.cache import CaseSource, prepare_cohort
from fedsim_tf.data.case_files import CaseFiles
from fedsim_tf.data.cohorts import Cohort, find_cohort
from fedsim_tf.data.labels import heart_mask
from fedsim_tf.data.layouts import LAYOUTS
from fedsim_tf.data.preprocess import PreparedCase, hu_from_unit, prepare, resample_to_original, unit_from_hu
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.splits import Fold, LabelledFold, SplitSizes, split, split_sizes
from fedsim_tf.data.writing import write_volume

__all__ = [
    "LAYOUTS",
    "CaseFiles",
    "CaseSource",
    "Cohort",
    "Fold",
    "LabelledFold",
    "PreparedCase",
    "SplitSizes",
    "find_cohort",
    "heart_mask",
    "hu_from_unit",
    "prepare",
    "prepare_cohort",
    "read_volume",
    "resample_to_original",
    "split",
    "split_sizes",
    "unit_from_hu",
    "write_volume",
]
