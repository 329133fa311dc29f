import numpy as np
import pytest

from fedsim_tf.data.reading import read_volume
from fedsim_tf.localization.agreement import find_heart
from fedsim_tf.localization.scouts import make_scout
from fedsim_tf.volume import Case
from tests.data.files_for_tests import refused
from tests.localization.chests import cut, make_chest, true_centre_mm


@pytest.fixture(scope="module")
def atlases():
    return [make_scout(make_chest(seed)) for seed in (1, 2, 3)]


@pytest.mark.parametrize(
    "case",
    [
        make_chest(10, name="as the atlases"),
        make_chest(11, shift_mm=(40.0, -20.0, 30.0), name="shifted"),
        make_chest(12, arms=True, name="arms down"),
        cut(make_chest(13, name="without shoulders"), z=slice(0, 62)),
    ],
    ids=lambda case: case.identity,
)
def test_hearts_of_other_people_are_found(atlases, case):
    found = find_heart(make_scout(Case(case.identity, case.image)), atlases)
    assert np.linalg.norm(found.centre_mm - true_centre_mm(case)) < 8.0
    assert found.agreeing == found.asked == 3
    assert found.spread_mm < 8.0


def test_the_same_scan_has_the_same_heart(atlases):
    scout = make_scout(make_chest(10))
    assert find_heart(scout, atlases[:2]) == find_heart(scout, atlases[:2])


def test_what_shows_no_heart_is_refused_in_words(atlases):
    case = make_chest(13)
    noise = np.random.default_rng(0).normal(0, 100, case.image.array.shape).astype(np.float32)
    for hidden in (Case("noise", case.image.with_array(noise)), cut(make_chest(13, name="belly"), z=slice(0, 16))):
        refused(lambda: find_heart(make_scout(Case(hidden.identity, hidden.image)), atlases), hidden.identity, "heart")  # noqa: B023
    refused(lambda: find_heart(make_scout(case), atlases[:1]), "chest_13", "1 annotated scans", "at least 2")


def test_a_real_heart_is_found_by_three_others(real_data):
    names = ("nsclc_002", "nsclc_005", "nsclc_008", "nsclc_007")
    scouts = []
    for name in names:
        image = read_volume(real_data(f"chest_nsclc/images/{name}.nii.gz"), dtype=np.float32)
        label = read_volume(real_data(f"chest_nsclc/labels/{name}.nii.gz"))
        mask = label.with_array((label.array > 0).astype(np.uint8))
        scouts.append(make_scout(Case(name, image, mask)))
    *atlases, scout = scouts
    found = find_heart(scout, atlases)
    assert np.linalg.norm(np.subtract(found.centre_mm, scout.to_patient(scout.heart_mm))) < 15.0
