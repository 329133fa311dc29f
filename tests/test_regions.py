"""Region ids as the data sets' documentation lists them, written out here by hand."""

import numpy as np
import pytest

from fedsim_tf.regions import (
    GREAT_VESSELS,
    ID_VALUES,
    MESH_NAMES,
    MMWHS_VALUES,
    PAINTING_ORDER,
    REGION_IDS,
    REGIONS,
    TOTALSEGMENTATOR_NAMES,
    encode_regions,
)


def test_seven_regions_with_names_and_colours_of_their_own():
    assert REGION_IDS == (1, 2, 3, 4, 5, 6, 7)
    assert [region.title for region in REGIONS.values()] == ["LV", "RV", "LA", "RA", "myocardium", "aorta", "PA"]
    assert len({region.colour for region in REGIONS.values()}) == 7
    assert GREAT_VESSELS == (6, 7)


def test_names_and_values_in_files():
    assert MESH_NAMES == {"lv": 1, "rv": 2, "la": 3, "ra": 4, "myo": 5, "ao": 6, "pa": 7}
    assert MMWHS_VALUES == {0: 0, 500: 1, 600: 2, 420: 3, 421: 3, 550: 4, 205: 5, 820: 6, 850: 7}
    assert {number: name for name, number in TOTALSEGMENTATOR_NAMES.items()} == {
        1: "heart_ventricle_left",
        2: "heart_ventricle_right",
        3: "heart_atrium_left",
        4: "heart_atrium_right",
        5: "heart_myocardium",
        6: "aorta",
        7: "pulmonary_artery",
    }


def test_blood_pools_are_painted_over_what_encloses_them():
    assert sorted(PAINTING_ORDER) == list(REGION_IDS)
    assert PAINTING_ORDER == (4, 3, 2, 5, 1, 6, 7)


@pytest.mark.parametrize("values", [ID_VALUES, MMWHS_VALUES])
def test_encoded_regions_are_decoded_by_the_same_table(values):
    regions = np.arange(8).reshape(2, 4)
    stored = encode_regions(regions, values)
    assert stored.dtype == np.int16
    assert [values[value] for value in stored.ravel().tolist()] == list(range(8))


def test_the_first_value_of_a_region_is_written():
    assert encode_regions(np.array([0, 3, 7, 5]), MMWHS_VALUES).tolist() == [0, 420, 850, 205]
