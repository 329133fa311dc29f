"""Values and names of regions in label maps that are written."""

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.label_writing import choose_written_labels
from fedsim_tf.data.labels import CANONICAL, make_scheme
from fedsim_tf.data.slicer_writing import write_slicer_segments
from fedsim_tf.errors import InputError
from fedsim_tf.volume import Geometry, Volume

IDS = np.arange(8, dtype=np.uint8)


def encode(text, ids=IDS, *, by_region=True):
    return choose_written_labels(text, by_region=by_region, subject="label_values").encode(ids).tolist()


def test_without_a_wish_labels_are_region_ids_or_one():
    assert encode("") == IDS.tolist()
    assert encode("", np.array([0, 1]), by_region=False) == [0, 1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lv:500,rv:600,la:420,ra:550,myo:205,aorta:820,pa:850", [0, 500, 600, 420, 550, 205, 820, 850]),
        ("lv:3", [0, 3, 0, 0, 0, 0, 0, 0]),
        ("lv:3,lv:9,pa:1", [0, 3, 0, 0, 0, 0, 0, 1]),
        ("heart:51", [0] + [51] * 7),
        ("heart:2,aorta:1", [0, 2, 2, 2, 2, 2, 1, 2]),
    ],
)
def test_regions_have_the_values_that_are_asked_for(text, expected):
    assert encode(text) == expected


@pytest.mark.parametrize("text", ["lv:500,rv:600,la:420,ra:550,myo:205,aorta:820,pa:850", "myo:2,lv:1"])
def test_what_is_written_is_read_back_with_the_same_words(text):
    regions = make_scheme(text).apply(np.array(encode(text)), "label")
    named = [region for region, value in zip(IDS, encode(text), strict=True) if value]
    np.testing.assert_array_equal(regions, np.where(np.isin(IDS, named), IDS, 0))


def test_values_have_the_smallest_type_that_holds_them():
    for text, kind in (("heart:255", np.uint8), ("heart:256", np.int16)):
        assert choose_written_labels(text, by_region=True, subject="x").encode(IDS).dtype == kind


def test_structures_are_named_as_they_are_written():
    found = choose_written_labels("heart:2,aorta:1", by_region=True, subject="x").structures
    assert [(one.value, one.name, one.structure) for one in found] == [(1, "ao", "Aorta"), (2, "heart", "Heart")]
    found = choose_written_labels("heart:7", by_region=False, subject="x").structures
    assert [(one.value, one.name, one.structure) for one in found] == [(7, "heart", "Heart")]


@pytest.mark.parametrize(
    ("text", "by_region", "words"),
    [
        ("lv:1", False, "label_values is 'lv:1'; it must be the heart alone"),
        ("heart:1,aorta:2", False, "it must be the heart alone"),
        ("heart:40000", True, "it must have values up to 32767"),
        ("liver:1", True, "it must name regions"),
    ],
)
def test_values_that_labels_cannot_have_are_refused(text, by_region, words):
    with pytest.raises(InputError, match=words):
        encode(text, by_region=by_region)


@pytest.mark.parametrize(
    ("text", "by_region"), [("", True), ("heart:2,aorta:1", True), ("lv:500,pa:3", True), ("heart:7", False)]
)
def test_segmentations_of_slicer_have_names_values_and_colours(tmp_path, rng, text, by_region):
    """Read back by names alone, and by ITK, which keeps the header."""
    chosen = choose_written_labels(text, by_region=by_region, subject="x")
    regions = rng.integers(0, 8 if by_region else 2, (6, 7, 8)).astype(np.uint8)
    regions[:, :2] = 0
    label = Volume(chosen.encode(regions), Geometry((1.5, 2.0, 2.5), (-10.0, 5.0, 7.0)))
    path = tmp_path / "a.seg.nrrd"
    write_slicer_segments(label, path, chosen.structures)
    image = sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), label.array)
    np.testing.assert_allclose(image.GetSpacing(), label.spacing_mm)
    for number, structure in enumerate(chosen.structures):
        field = lambda name: image.GetMetaData(f"Segment{number}_{name}")  # noqa: B023, E731
        assert (field("Name"), int(field("LabelValue"))) == (structure.structure, structure.value)
        assert [round(255 * float(one)) for one in field("Color").split()] == list(structure.colour)
        low_x, high_x, low_y, *_ = map(int, field("Extent").split())
        found = np.argwhere(label.array == structure.value)
        assert (low_x, high_x, low_y) == (found[:, 2].min(), found[:, 2].max(), found[:, 1].min())
    found = read_label(path, label, CANONICAL, image_subject="ct")
    if text == "heart:2,aorta:1":  # of which the reader takes the whole heart alone
        expected = np.where(regions == 6, 0, regions > 0)
    else:
        expected = np.where(label.array > 0, regions, 0)
    np.testing.assert_array_equal(found, expected)
