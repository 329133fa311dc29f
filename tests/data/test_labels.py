import numpy as np
import pytest

from fedsim_tf.config import make_config
from fedsim_tf.data.labels import CANONICAL, CHD68, MMWHS, heart_mask, make_scheme, merge_masks, parse_mask
from fedsim_tf.errors import InputError
from tests.data.files_for_tests import refused


def test_mmwhs_values_become_region_ids():
    values = np.array([0, 500, 600, 420, 550, 205, 820, 850, 421])
    np.testing.assert_array_equal(MMWHS.apply(values, "label"), [0, 1, 2, 3, 4, 5, 6, 7, 3])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_mirrors_with_region_ids_pass_in_any_type(dtype):
    mapped = MMWHS.apply(np.arange(8, dtype=dtype).reshape(2, 2, 2), "label")
    assert mapped.dtype == np.uint8
    np.testing.assert_array_equal(mapped.ravel(), np.arange(8))


def test_unknown_mmwhs_values_are_listed():
    message = refused(lambda: MMWHS.apply(np.array([0, 500, 33, 7]), "a_label.nii.gz"), "a_label.nii.gz", "MM-WHS")
    assert "unknown label values 7, 33;" in message


def test_many_unknown_values_stay_one_short_line():
    message = refused(lambda: MMWHS.apply(np.arange(1000), "label"), "and ")
    assert len(message) < 300


def test_chd68_airways_and_others_are_background():
    np.testing.assert_array_equal(CHD68.apply(np.array([0, 1, 7, 8, 14, 255]), "label"), [0, 1, 7, 0, 0, 0])


def test_canonical_files_are_region_ids_or_binary():
    np.testing.assert_array_equal(CANONICAL.apply(np.array([0, 3, 7]), "label"), [0, 3, 7])
    np.testing.assert_array_equal(CANONICAL.apply(np.array([0, 255]), "label"), [0, 1])
    refused(lambda: CANONICAL.apply(np.array([0, 1, 8]), "mine.nii"), "mine.nii", "unknown label values 8")


def test_negative_and_far_apart_values():
    np.testing.assert_array_equal(CHD68.apply(np.array([-3, 5, 0]), "label"), [0, 5, 0])
    np.testing.assert_array_equal(CHD68.apply(np.array([-(2**40), 5, 0, 2**40]), "label"), [0, 5, 0, 0])
    refused(lambda: CANONICAL.apply(np.array([-1, 0, 5]), "label"), "-1")


@pytest.mark.parametrize("value", [1.5, np.nan, np.inf, 1e300])
def test_values_that_are_not_whole_numbers_are_refused(value):
    refused(lambda: CHD68.apply(np.array([0.0, 1.0, value]), "label.nii"), "label.nii", "whole numbers")


def test_the_lookup_agrees_with_a_plain_loop(rng):
    values = rng.choice([0, 500, 600, 420, 550, 205, 820, 850, 421], (5, 6, 7)).astype(np.int16)
    table = {0: 0, 500: 1, 600: 2, 420: 3, 550: 4, 205: 5, 820: 6, 850: 7, 421: 3}
    expected = [table[int(value)] for value in values.ravel()]
    np.testing.assert_array_equal(MMWHS.apply(values, "label").ravel(), expected)


def test_heart_is_every_region():
    np.testing.assert_array_equal(heart_mask(np.arange(8)), [False] + [True] * 7)


def test_masks_merge_and_the_higher_region_wins():
    masks = {5: np.array([1, 1, 0, 0]), 2: np.array([0, 255, 255, 0])}
    np.testing.assert_array_equal(merge_masks(masks), [5, 5, 2, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_within_a_thousandth_of_whole_numbers_are_rounded(dtype):
    """As scaling slopes of 1/255 and resampling leave them."""
    values = np.array([0.0, 0.9995, 1.0004, 6.9991, -0.0005], dtype)
    np.testing.assert_array_equal(CANONICAL.apply(values, "label"), [0, 1, 1, 7, 0])
    refused(lambda: CANONICAL.apply(np.array([0, 0.998, 3], dtype), "label.nii"), "0.998", "whole numbers")


def test_soft_masks_are_refused():
    soft = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    for read in (CANONICAL.apply, CHD68.apply, parse_mask):
        refused(lambda read=read: read(soft, "soft.nii"), "soft.nii: found a soft mask with values such as", "one half")


def test_masks_have_one_value_beside_0():
    np.testing.assert_array_equal(parse_mask(np.array([0, 255, 255, 0], np.uint8), "m"), [False, True, True, False])
    np.testing.assert_array_equal(parse_mask(np.zeros(3), "m"), [False] * 3)
    refused(lambda: parse_mask(np.array([0, 1, 2]), "m.nii"), "m.nii: found values 1, 2", "0 and one other value")
    refused(lambda: parse_mask(np.array([0, -1]), "m.nii"), "values -1")


def test_some_regions_only_are_warned_of(caplog):
    """Heart, aorta and pulmonary artery as 1, 2, 3 would be taken for three chambers; heart or not has no doubt."""
    caplog.set_level("WARNING")
    for whole in (np.arange(8), np.array([0, 1]), np.array([0, 255])):
        CANONICAL.apply(whole, "whole.nii")
    MMWHS.apply(np.array([0, 500, 600, 421, 550, 205, 820, 850]), "whole.nii")
    assert caplog.text == ""
    CANONICAL.apply(np.array([0, 1, 2, 3]), "part.nii")
    assert "part.nii has only some of the regions of region ids: 1 taken for LV, 2 taken for RV, 3" in caplog.text
    assert "data.label_values" in caplog.text
    CANONICAL.apply(np.array([0, 6]), "aorta.nii")
    assert "aorta.nii has only some of the regions of region ids: 6 taken for aorta;" in caplog.text
    MMWHS.apply(np.array([0, 500]), "lv.nii")
    assert "lv.nii has only some of the regions of MM-WHS: 500 taken for LV;" in caplog.text


@pytest.mark.parametrize(
    ("text", "values", "regions"),
    [
        ("heart:51", [0, 51, 52, 117], [0, 1, 0, 0]),
        ("heart:1,aorta:2,pa:3", [0, 1, 2, 3, 4], [0, 1, 6, 7, 0]),
        ("lv:1, rv:2,LA:3,ra:4,Myo:5,myocardium:6, Left Ventricle : 9", range(10), [0, 1, 2, 3, 4, 5, 5, 0, 0, 1]),
        ("pulmonary_artery=850,heart_atrium_left=420", [0, 420, 850], [0, 3, 7]),
    ],
)
def test_users_say_what_values_mean(text, values, regions):
    np.testing.assert_array_equal(make_scheme(text).apply(np.array(values), "label"), regions)


def test_a_file_of_another_scheme_than_the_users_is_refused_or_warned_of(caplog):
    scheme = make_scheme("lv:1,rv:2")
    message = refused(lambda: scheme.apply(np.array([0, 51]), "other.nii"), "other.nii: found label values 0, 51;")
    assert "expected some of 1, 2, as data.label_values=lv:1,rv:2 says" in message
    caplog.set_level("WARNING")
    scheme.apply(np.array([0, 2, 77]), "some.nii")
    assert "some.nii has only some of the regions of data.label_values=lv:1,rv:2: 2 taken for RV;" in caplog.text


def test_a_ct_is_no_label_map_where_other_values_are_background():
    ct = np.arange(-1000, 1000)
    for scheme in (CHD68, make_scheme("heart:51")):
        refused(lambda scheme=scheme: scheme.apply(ct, "ct.nii"), "ct.nii: found 2000 different values, as of a CT")
    np.testing.assert_array_equal(make_scheme("heart:51").apply(np.arange(118), "l"), np.arange(118) == 51)


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("1,2", "be names with values, such as lv:1,rv:2 or heart:51"),
        ("lv:1,", "be names with values"),
        ("lv:-1", "be names with values"),
        ("lv:1,liver:2", "name regions, of which 'liver' is none: heart, lv, leftventricle"),
        ("lv:1,rv:1", "have value 1 once"),
        ("lv:0", "have no region with value 0, which is background"),
        ("heart:1,lv:2", "have the heart as a whole or its parts, not both"),
    ],
)
def test_text_that_is_no_scheme_is_refused(text, must):
    with pytest.raises(InputError) as caught:
        make_config("demo", data={"label_values": text})
    assert str(caught.value).startswith(f"data.label_values is {text!r}; it must {must}")
    assert "\n" not in str(caught.value)
