"""The page that shows a data set's volumes, and the cuts in its pictures."""

import dataclasses
import html

import matplotlib.image
import numpy as np
import pytest

from fedsim_tf.data.preprocess import prepare
from fedsim_tf.evaluation.planes import cut_planes, draw_planes
from fedsim_tf.evaluation.volume_page import describe_volume, write_volume_page
from fedsim_tf.regions import LV, MYOCARDIUM, REGIONS
from fedsim_tf.volume import Case, Geometry, Volume
from tests.evaluation.pictures_for_tests import pixels

EXTENT_MM = (200.0, 100.0, 150.0)


@pytest.fixture
def case():
    """A box of 40 x 20 x 25 mm as heart, with its centre a quarter from the right, the front and the feet."""
    z, y, x = np.indices((30, 20, 40))
    label = ((abs(z - 7) < 3) & (abs(y - 4.5) < 2) & (abs(x - 9.5) < 4)).astype(np.uint8)
    place = Geometry((5.0, 5.0, 5.0))
    return prepare(Case("<b>", Volume(np.where(label, 300.0, -800.0), place), Volume(label, place)), 40)


def test_cuts_are_upright_with_the_left_on_the_right():
    z, y, x = np.indices((4, 5, 6))
    axial, coronal, sagittal = cut_planes(100 * z + 10 * y + x, (1, 2, 3))
    assert (axial[0, 0], axial[-1, -1]) == (100, 145)  # from front right to back left
    assert (coronal[0, 0], coronal[-1, -1]) == (320, 25)  # from head right to feet left
    assert (sagittal[0, 0], sagittal[-1, -1]) == (303, 43)  # from head front to feet back


def test_a_picture_has_the_volumes_proportions_and_the_outline(tmp_path, case):
    for name, label in (("with", case.label), ("without", None)):
        draw_planes(tmp_path / name, case.image, label, (10, 9, 9), extent_mm=case.field_of_view_mm, title="t")
    pictures = [matplotlib.image.imread(tmp_path / name, format="png")[..., :3] for name in ("with", "without")]
    green = [np.argwhere(p[..., 1] > p[..., 0] + 0.3) for p in pictures]
    assert len(green[1]) == 0
    heights, widths = np.ptp(green[0], axis=0)
    assert widths > heights > 0
    # The outline of the axial cut, 40 x 20 mm, is the first on the left.
    width = pictures[0].shape[1]
    axial = green[0][green[0][:, 1] < width * 0.4]
    assert np.ptp(axial[:, 1]) / np.ptp(axial[:, 0]) == pytest.approx(2.0, rel=0.15)


def test_regions_are_outlined_in_their_colours_with_a_legend(tmp_path, case, titles, legends):
    """The box's right half is the ventricle, its left half the wall; one slice has the wall alone."""
    ids = (case.label > 0) * np.where(np.arange(case.label.shape[2]) < 10, LV, MYOCARDIUM).astype(np.uint8)
    draw_planes(tmp_path / "a.png", case.image, ids, (10, 9, 11), extent_mm=case.field_of_view_mm, title="t")
    assert titles["a.png"] == ["t", "axial", "coronal", "sagittal"]
    assert legends["a.png"] == ["LV", "myo"]
    image = pixels(tmp_path / "a.png")
    ventricle, wall = (np.argwhere(np.abs(image - REGIONS[one].rgb).max(axis=-1) < 30) for one in (LV, MYOCARDIUM))
    within = lambda points, low, high: points[(points[:, 1] > low) & (points[:, 1] < high)]  # noqa: E731
    width, height = image.shape[1], 0.85 * image.shape[0]  # the legend is below
    axial = [within(points[points[:, 0] < height], 0, 0.4 * width)[:, 1] for points in (ventricle, wall)]
    assert axial[0].max() == pytest.approx(axial[1].min(), abs=4)
    assert axial[0].min() < axial[1].min()
    assert axial[0].max() < axial[1].max()
    sagittal = [within(points[points[:, 0] < height], 0.75 * width, width) for points in (ventricle, wall)]
    assert (len(sagittal[0]), len(sagittal[1]) > 50) == (0, True)
    draw_planes(tmp_path / "b.png", case.image, case.label, (10, 9, 11), extent_mm=case.field_of_view_mm, title="t")
    assert legends["b.png"] == []


def test_numbers_are_the_files_own(case):
    row = describe_volume(case, patient="p", picture="pictures/000.png")
    assert (row.voxels, row.spacing_mm, row.extent_mm) == ((40, 20, 30), (5.0, 5.0, 5.0), EXTENT_MM)
    assert row.heart_ml == pytest.approx(20.0, rel=0.12)
    assert row.heart_place == pytest.approx((25, 25, 25), abs=1.5)
    assert row.hu[:2] == pytest.approx((-800, -800), abs=1)  # the heart takes less than a hundredth


def test_the_page_names_what_is_shown_left_out_and_odd(tmp_path, case):
    rows = [describe_volume(case, patient="p", picture="pictures/000.png")]
    bare = dataclasses.replace(rows[0], name="bare", heart_ml=None, heart_place=(), remarks=("odd",))
    page = tmp_path / "index.html"
    write_volume_page(page, title="scans", rows=[*rows, bare], left_out=["x.nii: found <nothing>"], remarks=["all odd"])
    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text  # names are text
    for words in (
        "2 scans can be used, 1 of them annotated",
        "1 cannot",
        "x.nii: found <nothing>",
        "all odd",
        "not annotated",
    ):
        assert html.escape(words) in text
    assert text.count("pictures/000.png") == 2
