"""Segmenting CTs of every format with a network that is a threshold, so that only files and places are tested."""

import pathlib
import warnings

import numpy as np
import pytest
import SimpleITK as sitk

from experiments import segment as command
from fedsim_tf.config import make_config
from fedsim_tf.data.grid_places import find_places_mm
from fedsim_tf.data.label_reading import read_label
from fedsim_tf.data.labels import CANONICAL
from fedsim_tf.data.mask_writing import MASK_ENDINGS
from fedsim_tf.data.reading import read_volume
from fedsim_tf.data.writing import write_volume
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.localization.finder import HeartFinder
from fedsim_tf.localization.scouts import make_scout
from fedsim_tf.regions import LV, MYOCARDIUM
from fedsim_tf.tools import segment
from fedsim_tf.tools.segment import open_segmentation
from fedsim_tf.tools.segment_many import is_single, open_many
from tests.data.dicom_for_tests import write_series
from tests.data.files_for_tests import refused
from tests.evaluation.pictures_for_tests import pixels
from tests.localization.chests import make_chest

SIZE = 32
STORED = np.full((SIZE, SIZE, SIZE), 124, np.uint16)
STORED[8:20, 10:24, 6:30] = 1224
STORED += np.random.default_rng(0).integers(0, 90, STORED.shape).astype(np.uint16)
TRUTH = STORED > 1000
HU = STORED.astype(np.int16) - 1024


class ThresholdFold:
    """A finished fold whose network finds what is denser than water."""

    def __init__(self):
        config = make_config("demo", model={"precision": "float32"})
        self.run = type("Run", (), {"config": config})

    def last_stage_of(self, arm):
        return arm

    def load_segmenter(self, _stage):
        return lambda image: (image > 0.05).astype(np.uint8)

    def fields_of_view_mm(self):
        return []

    def read_finder(self):
        return None


class RegionFold(ThresholdFold):
    """A finished fold by region, whose network finds a ventricle where it is bright, and in its lower half a wall."""

    def __init__(self):
        self.run = type("Run", (), {"config": make_config("demo", model={"precision": "float32", "labels": "regions"})})

    def load_segmenter(self, _stage):
        def segment(image):
            found = (image > 0.05).astype(np.uint8) * LV
            found[: SIZE // 2] *= MYOCARDIUM
            return found

        return segment


class BallFold(ThresholdFold):
    """A finished fold that crops around hearts, and whose network finds a ball in the middle of its cube."""

    def load_segmenter(self, _stage):
        z, y, x = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
        return lambda _image: ((x / 10.5) ** 2 + (y / 8.5) ** 2 + (z / 8.0) ** 2 < 1).astype(np.uint8)

    def read_finder(self):
        return HeartFinder(tuple(make_scout(make_chest(seed)) for seed in (1, 2)), 190.0)


@pytest.fixture(autouse=True)
def _threshold(monkeypatch):
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: ThresholdFold())


def write_ct(path, array=HU, *, direction=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 3.0, 4.0))
    if direction is not None:
        image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize("image", ["ct.nii.gz", "ct.nrrd", "ct.mha", "ct.mhd"])
@pytest.mark.parametrize("mask", ["m.nii", "m.nrrd", "m.mha"])
def test_every_format_goes_in_and_out(tmp_path, image, mask):
    path = write_ct(tmp_path / image)
    found = open_segmentation("fold", "ours_full", image=path, output=tmp_path / mask).run()
    np.testing.assert_array_equal(found.mask.array, TRUTH)
    written, ct = sitk.ReadImage(str(tmp_path / mask)), sitk.ReadImage(str(path))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(written), TRUTH)
    assert written.GetSpacing() == ct.GetSpacing()
    assert written.GetOrigin() == ct.GetOrigin()


@pytest.mark.parametrize(("mask", "mask_format"), [("s.dcm", None), ("rtstruct.dcm", None), ("x.dcm", "rtstruct")])
def test_a_dicom_ct_gets_dicom_back(tmp_path, mask, mask_format):
    write_series(tmp_path / "ct", STORED)
    start = open_segmentation(
        "fold", "ours_full", image=tmp_path / "ct", output=tmp_path / mask, mask_format=mask_format
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)  # such as of a patient's name with one part
        start.run()
    image = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(read_label(tmp_path / mask, image, CANONICAL, image_subject="ct"), TRUTH)
    again = open_segmentation(
        "fold", "ours_full", image=tmp_path / "ct", output=tmp_path / "m.nii.gz", label=tmp_path / mask
    )
    assert again.run().dice == 100.0


@pytest.fixture
def _regions(monkeypatch):
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: RegionFold())


REGION_TRUTH = np.where(TRUTH, np.where(np.arange(SIZE)[:, None, None] < SIZE // 2, MYOCARDIUM, LV), 0).astype(np.uint8)


@pytest.mark.usefixtures("_regions")
@pytest.mark.parametrize("mask", ["m.nii.gz", "m.nrrd", "m.mha"])
def test_a_network_by_region_writes_region_ids(tmp_path, mask):
    path = write_ct(tmp_path / "ct.nii.gz")
    open_segmentation("fold", "ours_full", image=path, output=tmp_path / mask).run()
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / mask))), REGION_TRUTH)
    refusals = Refusals("out")
    many = open_many("fold", "ours_full", images=[path, write_ct(tmp_path / "b.mha")], output_dir=tmp_path / "out")
    for output, _ in many.run(refusals=refusals):
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(output))), REGION_TRUTH)


@pytest.mark.usefixtures("_regions")
@pytest.mark.parametrize("mask", ["s.dcm", "rtstruct.dcm"])
def test_a_dicom_ct_gets_a_structure_for_each_region(tmp_path, mask):
    write_series(tmp_path / "ct", STORED)
    open_segmentation("fold", "ours_full", image=tmp_path / "ct", output=tmp_path / mask).run()
    image = read_volume(tmp_path / "ct")
    found = read_label(tmp_path / mask, image, CANONICAL, image_subject="ct")
    np.testing.assert_array_equal(found, REGION_TRUTH)


@pytest.mark.usefixtures("_regions")
def test_dice_is_that_of_the_heart_and_of_each_region_where_the_label_has_them(tmp_path):
    path = write_ct(tmp_path / "ct.nii.gz")
    label = REGION_TRUTH.copy()
    label[12:16][label[12:16] > 0] = LV  # 4 of 8 slices of the wall, and 4 beside the ventricle's own 4
    truth = write_ct(tmp_path / "truth.nii.gz", label)
    given = {"image": path, "output": tmp_path / "m.nii.gz", "picture": tmp_path / "p.png"}
    found = open_segmentation("fold", "ours_full", **given, label=truth).run()
    assert found.dice == 100.0
    assert found.region_dice == {LV: pytest.approx(100 * 2 * 4 / 12), MYOCARDIUM: pytest.approx(100 * 2 * 4 / 12)}
    picture = pixels(tmp_path / "p.png")
    assert picture.shape[0] > 0.9 * picture.shape[1]  # three rows
    whole = write_ct(tmp_path / "whole.nii.gz", TRUTH.astype(np.uint8))
    found = open_segmentation("fold", "ours_full", **given, label=whole).run()
    assert (found.dice, found.region_dice) == (100.0, {})


def test_a_network_of_the_heart_has_no_dice_by_region(tmp_path):
    path, truth = write_ct(tmp_path / "ct.nii.gz"), write_ct(tmp_path / "truth.nii.gz", REGION_TRUTH)
    found = open_segmentation("fold", "ours_full", image=path, output=tmp_path / "m.nii.gz", label=truth).run()
    assert (found.dice, found.region_dice) == (100.0, {})
    np.testing.assert_array_equal(found.mask.array, TRUTH)


def test_what_is_no_ct_is_refused_unless_told(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, HU.shape).astype(np.uint8)
    cases = {"as of an 8-bit picture": picture, "as of a label map": (TRUTH * 7).astype(np.uint8)}
    for words, array in cases.items():
        path = write_ct(tmp_path / "picture.nii.gz", array)
        given = {"image": path, "output": tmp_path / "m.nii.gz"}
        refused(lambda given=given: open_segmentation("fold", "ours_full", **given), path, words)
        open_segmentation("fold", "ours_full", **given, any_values=True)
    assert not (tmp_path / "m.nii.gz").exists()


def test_dicom_for_a_file_is_refused_before_anything_is_read(tmp_path):
    image = tmp_path / "none.nii.gz"
    refused(lambda: open_segmentation("fold", "ours_full", image=image, output="s.dcm"), "no DICOM series")


def scans(root):
    write_ct(root / "a.nii.gz")
    write_ct(root / "deep" / "b.mhd")
    for name in ("anna", "berta"):
        write_series(root / name / "ct", STORED, series=f"1.2.{len(name)}")
    return root


def test_a_folder_of_scans_is_segmented_at_once(tmp_path):
    start = open_many("fold", "ours_full", images=[scans(tmp_path / "in")], output_dir=tmp_path / "out")
    refusals = Refusals("out")
    outputs = [output.name for output, _ in start.run(refusals=refusals)]
    refusals.check()
    assert sorted(outputs) == ["a.nii.gz", "anna_ct.nii.gz", "berta_ct.nii.gz", "deep_b.nii.gz"]
    for name in outputs:
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / name))), TRUTH)


def test_one_bad_scan_does_not_keep_the_others(tmp_path):
    good, bad = write_ct(tmp_path / "a.nii.gz"), write_ct(tmp_path / "b.nrrd")
    bad.write_bytes(bad.read_bytes()[:-50])
    start = open_many("fold", "ours_full", images=[bad, good], output_dir=tmp_path / "out", mask_format="nrrd")
    refusals, dry = Refusals("out"), Refusals("out")
    assert [one.image.name for one in start.open_each(refusals=dry)] == ["a.nii.gz"]  # as a dry run does
    assert not (tmp_path / "out").exists()
    assert [output.name for output, _ in start.run(refusals=refusals)] == ["a.nrrd"]
    for each in (refusals, dry):
        with pytest.raises(InputError, match=r"b\.nrrd: found a truncated file"):
            each.check()


def test_masks_never_lie_over_their_scans(tmp_path):
    path = write_ct(tmp_path / "a.nii.gz")
    refused(lambda: open_many("f", "a", images=[path], output_dir=tmp_path), path, "given as another one too")
    refused(lambda: open_many("f", "a", images=[path], output_dir=path), "a file", "a folder for the masks of 1 CTs")
    named = tmp_path / "masks.nii.gz"
    refused(lambda: open_many("f", "a", images=[tmp_path], output_dir=named), "the name of a file", "a folder for")
    refused(lambda: open_many("f", "a", images=[path], output_dir=tmp_path / "o", mask_format="seg"), "no DICOM series")
    (tmp_path / "empty").mkdir()
    refused(lambda: open_many("f", "a", images=[tmp_path / "empty"], output_dir=tmp_path / "o"), "no CT in this folder")


def test_one_file_to_one_file_is_a_single_one(tmp_path):
    path = write_ct(tmp_path / "in" / "a.nii.gz")
    write_series(tmp_path / "ct", STORED)
    assert is_single([path], tmp_path / "m.nii.gz")
    assert is_single([tmp_path / "ct"], tmp_path / "m.dcm")
    assert not is_single([path, path], tmp_path / "m")
    assert not is_single([tmp_path / "in"], tmp_path / "m")
    assert not is_single([path], tmp_path)


def test_a_picture_is_a_png(tmp_path):
    path = write_ct(tmp_path / "a.nii.gz")
    files = {"image": path, "output": tmp_path / "m.nii.gz", "picture": tmp_path / "p.txt"}
    refused(lambda: open_segmentation("fold", "ours_full", **files), "p.txt", "one ending in .png")


def test_a_heart_that_is_too_large_is_warned_of(tmp_path, caplog):
    """Voxels of 24 mm^3: a heart of 3.4 l."""
    dense = np.full((60, 60, 60), 200, np.int16)
    dense[:8] = -900
    for array, said in ((dense, True), (HU, False)):
        caplog.clear()
        path = write_ct(tmp_path / "a.nii.gz", array)
        open_segmentation("fold", "ours_full", image=path, output=tmp_path / "m.nii.gz").run()
        assert ("at most 3000 are usual" in caplog.text) == said


class WideFold(ThresholdFold):
    """A finished fold that has learnt from volumes of 100 x 100 x 60 mm; its network finds a ball in their middle."""

    def load_segmenter(self, _stage):
        z, y, x = np.indices((SIZE,) * 3) - (SIZE - 1) / 2
        return lambda _image: (x**2 + y**2 + z**2 < (SIZE / 4) ** 2).astype(np.uint8)

    def fields_of_view_mm(self):
        return [(100.0, 100.0, 60.0)]

    def usual_field_of_view_mm(self):
        return self.fields_of_view_mm()[0]


@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (-1, 0, 0, 0, 0, 1, 0, 1, 0)])
def test_a_ct_is_fitted_to_the_field_of_view_that_was_learnt(tmp_path, monkeypatch, caplog, direction):
    """A ball of the network's cube, half as wide, is an ellipsoid of 50 x 50 x 30 mm around the middle of the CT."""
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: WideFold())
    path = write_ct(tmp_path / "ct.nii.gz", np.resize(HU, (60, 40, 50)), direction=direction)
    given = {"image": path, "output": tmp_path / "m.nii.gz"}
    open_segmentation("fold", "ours_full", **given)
    assert "as fit_field_of_view does" in caplog.text
    caplog.clear()
    found = open_segmentation("fold", "ours_full", **given, fit_field_of_view=True).run().mask
    assert not caplog.text
    at_mm = find_places_mm(np.argwhere(found.array)[:, ::-1], found.geometry) - found.middle_mm
    np.testing.assert_allclose(at_mm.mean(axis=0), 0.0, atol=0.3)
    assert found.nonzero_ml == pytest.approx(4 / 3 * np.pi * 2.5 * 2.5 * 1.5, rel=0.1)
    np.testing.assert_allclose(np.abs(at_mm).max(axis=0), (25.0, 25.0, 15.0), atol=3.0)


def test_only_a_known_field_of_view_is_fitted(tmp_path, monkeypatch):
    given = {"image": write_ct(tmp_path / "ct.nii.gz"), "output": tmp_path / "m.nii.gz", "fit_field_of_view": True}
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: BallFold())
    with pytest.raises(InputError, match="fit_field_of_view is True; it must be left out: this network crops each CT"):
        open_segmentation("fold", "ours_full", **given)


def test_the_command_knows_all_formats():
    assert list(MASK_ENDINGS) == command.FORMATS


def test_pictures_are_upright_whatever_the_axes(tmp_path, monkeypatch):
    """The same patient, stored from head to foot and with x to the right, looks the same."""
    drawn = []
    monkeypatch.setattr("fedsim_tf.evaluation.figures.panel", lambda _, rows, **__: drawn.append(rows[0]))
    turned = write_ct(
        tmp_path / "b.nii.gz", np.ascontiguousarray(HU[::-1, :, ::-1]), direction=(-1, 0, 0, 0, 1, 0, 0, 0, -1)
    )
    for path in (write_ct(tmp_path / "a.nii.gz"), turned):
        open_segmentation(
            "fold", "ours_full", image=path, output=tmp_path / "m.nii.gz", picture=pathlib.Path("p.png")
        ).run()
    for one, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[2], other[2])


def test_a_mask_of_a_crop_lies_at_the_heart_of_the_whole_scan(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: BallFold())
    chest = make_chest(10, shift_mm=(36.0, 12.0, -24.0))
    path, truth = tmp_path / "ct.nii.gz", tmp_path / "truth.nii.gz"
    write_volume(chest.image, path)
    write_volume(chest.label, truth)
    found = open_segmentation("fold", "ours_full", image=path, output=tmp_path / "mask.nii.gz", label=truth).run()
    assert found.mask.array.shape == chest.image.array.shape
    assert found.dice > 85.0
    noise = np.random.default_rng(0).normal(0, 200, chest.image.array.shape).astype(np.float32)
    write_volume(chest.image.with_array(noise), tmp_path / "noise.nii.gz")
    arguments = {"image": tmp_path / "noise.nii.gz", "output": tmp_path / "mask.nii.gz"}
    refused(lambda: open_segmentation("fold", "ours_full", **arguments), "noise.nii.gz", "heart")
