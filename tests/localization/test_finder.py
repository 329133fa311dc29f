import dataclasses

import numpy as np
import pytest

from fedsim_tf.localization import finder as module
from fedsim_tf.localization.finder import (
    HeartFinder,
    choose_edge_mm,
    find_crops,
    make_finder,
    read_finder,
    write_finder,
)
from fedsim_tf.localization.scouts import make_scout
from tests.data.files_for_tests import refused
from tests.localization.chests import make_chest, true_centre_mm


class Chests:
    """A cohort in memory: five chests, of which b and c are of one patient."""

    name = "chests"

    def __init__(self):
        self.cases = {name: make_chest(seed, name=name) for seed, name in enumerate("abcde", 1)}
        self.loads = []

    def load(self, identity):
        self.loads.append(identity)
        return self.cases[identity]

    def fingerprint(self, identity):
        return identity

    def patient(self, identity):
        return {"b": "bc", "c": "bc"}.get(identity, identity)


@pytest.fixture
def asked(monkeypatch):
    """The atlases of each scan that was looked at; every heart is found in the patient's origin."""
    looked_at = {}

    def find(scout, atlases, **_):
        looked_at[scout.identity] = [atlas.identity for atlas in atlases]
        return module.FoundHeart((1.0, 2.0, 3.0), 1.0, 0.9, len(atlases), len(atlases))

    monkeypatch.setattr(module, "find_heart", find)
    return looked_at


def test_no_patient_is_an_atlas_of_his_own(asked):
    cohort = Chests()
    finder = make_finder(cohort, ["a", "b", "c"], "200")
    crops = find_crops(cohort, list("abcde"), finder)
    assert asked == {"a": ["b", "c"], "b": ["a"], "c": ["a"], "d": ["a", "b", "c"], "e": ["a", "b", "c"]}
    assert crops["d"].edges_mm == (200.0, 200.0, 200.0)


def test_own_labels_do_not_move_crops():
    cohort = Chests()
    before = find_crops(cohort, ["a"], make_finder(cohort, ["a", "b", "d"], "200"))
    moved = cohort.cases["a"]
    cohort.cases["a"] = dataclasses.replace(moved, label=moved.label.with_array(np.roll(moved.label.array, 9, axis=0)))
    assert find_crops(cohort, ["a"], make_finder(cohort, ["a", "b", "d"], "200")) == before
    assert np.linalg.norm(np.subtract(before["a"].centre_mm, true_centre_mm(moved))) < 8.0


def test_scouts_and_places_are_kept_and_made_again_where_damaged(tmp_path, asked):
    cohort = Chests()

    def find(scans):
        finder = make_finder(cohort, list("abd"), "auto", cache_dir=tmp_path)
        return find_crops(cohort, scans, finder, cache_dir=tmp_path)

    first = find("abd")
    cohort.loads.clear(), asked.clear()
    assert find("abd") == first
    assert cohort.loads == []
    assert asked == {}
    for file in tmp_path.iterdir():
        file.write_bytes(b"{")
    assert find("d")
    assert set(cohort.loads) == set("abd")
    assert set(asked) == {"d"}


def test_an_automatic_crop_holds_the_largest_heart():
    scouts = [make_scout(make_chest(seed)) for seed in (1, 2)]
    largest = max(max(scout.heart_edges_mm) for scout in scouts)
    edge = choose_edge_mm(scouts, "auto")
    assert largest + 30 <= edge < largest + 40
    assert edge % 10 == 0
    assert choose_edge_mm(scouts, "180.5") == 180.5


def test_a_finder_comes_back_from_its_file(tmp_path):
    write_finder(HeartFinder((make_scout(make_chest(1)),), 190.0), tmp_path / "finder.npz")
    finder = read_finder(tmp_path / "finder.npz")
    assert finder.edge_mm == 190.0
    assert [atlas.identity for atlas in finder.atlases] == ["chest_1"]


def test_one_patient_is_not_enough():
    refused(lambda: make_finder(Chests(), ["b", "c"], "auto"), "data.crop_mm", "2 annotated", "2 patients")


def test_a_heart_that_is_not_found_leaves_the_others(asked, monkeypatch):
    def refuse(scout, atlases, **_):
        if scout.identity == "d":
            raise module.InputError("d", found="no heart", expected="one")
        return module.FoundHeart((0.0, 0.0, 0.0), 1.0, 0.9, 2, 2)

    monkeypatch.setattr(module, "find_heart", refuse)
    cohort, lines = Chests(), []
    finder = make_finder(cohort, ["a", "b"], "200")
    assert set(find_crops(cohort, list("ade"), finder, refused=lines.append)) == {"a", "e"}
    assert len(lines) == 1
    refused(lambda: find_crops(cohort, list("ade"), finder), "no heart")
