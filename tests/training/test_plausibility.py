"""Warnings of volumes that the method cannot fit."""

import dataclasses

import numpy as np
import pytest

from fedsim_tf.data.preprocess import PreparedCase
from fedsim_tf.training.plausibility import (
    warn_of_missing_regions,
    warn_of_odd_volumes,
    warn_of_other_extents,
    warn_of_other_regions,
    warn_of_unknown_spacing,
    warn_of_unreachable_hearts,
    warn_of_unreachable_sizes,
)
from fedsim_tf.volume import Geometry

USUAL_MM = (330.0, 330.0, 205.0)


@pytest.fixture
def said(caplog):
    caplog.set_level("WARNING")
    return caplog


def case(name, extent_mm):
    geometry = Geometry(tuple(mm / 16 for mm in extent_mm), (0.0, 0.0, 0.0))
    return PreparedCase(name, np.zeros((16,) * 3, np.float32), None, geometry, geometry, (16,) * 3)


def test_volumes_that_show_more_or_less_are_named(said):
    close = [case(f"p{i}", (330.0 * k, 330.0 * k, 190.0 * k)) for i, k in enumerate((1.0, 1.5, 0.65))]  # children too
    warn_of_other_extents("here", close, USUAL_MM)
    assert said.text == ""
    others = [
        case("chest", (330.0, 330.0, 640.0)),
        case("air", (500.0, 500.0, 205.0)),
        case("all", (660.0, 660.0, 410.0)),
    ]
    warn_of_other_extents("here", [*close, *others], USUAL_MM)
    assert "here: 3 of 6 volumes show far more or less than the usual 330 x 330 x 205 mm" in said.text
    assert "chest (330 x 330 x 640), air (500 x 500 x 205), all (660 x 660 x 410)" in said.text


def test_long_lists_are_cut(said):
    warn_of_other_extents("here", [case(f"p{i}", (900.0,) * 3) for i in range(20)], USUAL_MM)
    assert "p7" in said.text
    assert "p8" not in said.text
    assert "and 12 more" in said.text


def ball(centre_zyx, radius=4):
    grid = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)
    return (np.linalg.norm(grid - centre_zyx, axis=-1) < radius).astype(np.float32)


def test_hearts_out_of_reach_are_named_with_their_distance(said):
    """Voxels of 10 mm along z and 5 mm within slices; 50 mm in a cube of 256 mm are 39 here."""
    middle = np.full(3, 15.5)
    labels = np.stack([ball(middle), ball(middle + np.array([0, 7, 0])), ball(middle + np.array([4.5, 0, 0]))])
    warn_of_unreachable_hearts("here", ("a", "b", "c"), labels, (160.0, 160.0, 320.0))
    assert "by up to 39 mm" in said.text
    assert "farther off: c (45 mm)" in said.text


def test_hearts_out_of_scale_are_named_with_their_factor(said):
    labels = np.stack([ball(np.full(3, 15.5), radius=radius) for radius in (4, 6, 9)])
    warn_of_unreachable_sizes("here", ("a", "b", "c"), labels, mean_voxels=float(labels[0].sum()))
    assert "for the mean heart to be scaled to: c (2.2" in said.text


def test_headers_that_all_say_one_millimetre_are_not_believed(said):
    one, two = case("a", (16.0, 16.0, 16.0)), case("b", (16.0, 16.0, 32.0))
    warn_of_unknown_spacing("here", [one, two])
    assert said.text == ""
    warn_of_unknown_spacing("here", [one, one])
    assert "here: every file says that its voxels are 1 x 1 x 1 mm" in said.text


def heart(name, edge, regions=tuple(range(1, 8))):
    """A cube of `edge` voxels of 20 x 20 x 12.5 mm, which are 5 ml."""
    label = np.zeros((16, 16, 16), np.uint8)
    label[:edge, :edge, :edge] = 1
    one = case(name, (320.0, 320.0, 200.0))
    return dataclasses.replace(one, label=label, regions=regions)


def test_hearts_far_from_the_median_volume_are_named(said):
    usual = [heart(f"p{edge}", edge) for edge in (5, 5, 6, 6)]
    warn_of_odd_volumes("here", usual)
    warn_of_odd_volumes("here", [heart("a", 2), heart("b", 5), heart("c", 12)])  # too few to tell
    assert said.text == ""
    warn_of_odd_volumes("here", [*usual, heart("small", 2), heart("large", 11)])
    assert "here: hearts far from the median of 852 ml: small (40 ml), large (6655 ml); are" in said.text


def test_sites_with_hearts_of_all_sizes_are_not_warned_of(said):
    warn_of_odd_volumes("children and adults", [heart(f"p{edge}", edge) for edge in (3, 4, 6, 8, 10)])
    assert said.text == ""


def test_labels_with_other_regions_than_most_are_named(said):
    whole = [heart(f"p{number}", 5) for number in range(3)]
    warn_of_other_regions("here", [*whole, case("unannotated", USUAL_MM)])
    assert said.text == ""
    warn_of_other_regions("here", [*whole, heart("binary", 5, (1,)), heart("three", 5, (1, 2, 3))])
    assert "here: 3 of 5 labels have LV RV LA RA myo ao PA; others" in said.text
    assert "binary (region 1 alone), three (LV RV LA)" in said.text


def test_regions_that_no_label_has_are_named(said):
    whole = [heart(f"p{number}", 5) for number in range(3)]
    warn_of_missing_regions("here", [*whole, heart("three", 5, (1, 2, 3))])
    warn_of_missing_regions("unannotated", [case("a", USUAL_MM)])
    assert said.text == ""
    warn_of_missing_regions("here", [heart("a", 5, (1, 2, 4, 5)), heart("b", 5, (1, 2, 5, 6))])
    assert "here: no label has LA PA; nothing will be learnt" in said.text
    said.clear()
    warn_of_missing_regions("here", [heart("a", 5, (1,)), heart("b", 5, (1,))])
    assert "here: labels do not tell regions apart" in said.text
