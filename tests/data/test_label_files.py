"""Folders of label maps alone, for shape models."""

import numpy as np
import pytest

from fedsim_tf.data.label_files import find_label_files, read_label_map
from tests.data.files_for_tests import SHAPE, ct, labels, refused, write


def test_files_left_out_beside_labels_are_named(tmp_path, caplog):
    for name in ("a_label.nii.gz", "b_Label.nii", "a_image.nii.gz", "c.nii"):
        write(tmp_path / name, labels(1))
    assert sorted(find_label_files(tmp_path)) == ["a_label", "b_Label"]
    assert "2 files with 'label' in their names are taken; left out are 2 others: a_image.nii.gz, c.nii" in caplog.text


@pytest.mark.parametrize("names", [("a.nii", "b.nii.gz"), ("a_label.nii", "b_label.nii.gz")])
def test_files_of_one_kind_are_all_taken(tmp_path, caplog, names):
    for name in names:
        write(tmp_path / name, labels(1))
    assert len(find_label_files(tmp_path)) == 2
    assert caplog.text == ""


def test_label_maps_have_heart_and_background(tmp_path):
    path = write(tmp_path / "a.nii", labels(1, 5))
    assert set(read_label_map(path).array.flat) == {0, 1, 5}
    refused(lambda: read_label_map(write(path, labels())), path, "no voxel of any region")
    refused(lambda: read_label_map(write(path, np.ones(SHAPE, np.int16))), path, "no background")
    refused(lambda: read_label_map(write(path, ct())), path, "unknown label values")
