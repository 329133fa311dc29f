import dataclasses
import zipfile

import numpy as np
import pytest

from fedsim_tf.data.cache import prepare_cohort
from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.preprocess import prepare
from fedsim_tf.volume import Case, Geometry, Volume
from tests.data.files_for_tests import ct, mmwhs, write

WHERE = Geometry((0.5, 0.6, 0.7), (1.0, 2.0, 3.0), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))


class Source:
    """Two cases in memory that count how often they are loaded; "b" has no label."""

    name = "memory"

    def __init__(self):
        self.loads = []
        self.version = "1"

    def load(self, identity):
        self.loads.append(identity)
        image = Volume(ct(ord(identity)).astype(np.float32), WHERE)
        return Case(identity, image, Volume((ct() > 0).astype(np.uint8), WHERE) if identity == "a" else None)

    def fingerprint(self, identity):
        return identity + self.version


def same(one, other) -> bool:
    for field in dataclasses.fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        equal = np.array_equal(a, b) and a.dtype == b.dtype if isinstance(a, np.ndarray) else a == b
        if not equal or type(a) is not type(b):
            return False
    return True


def test_cached_cases_are_the_prepared_ones_and_are_not_loaded_again(tmp_path):
    source = Source()
    expected = [prepare(source.load(identity), 8) for identity in "ba"]
    source.loads.clear()
    for _ in range(2):
        cases = prepare_cohort(source, ["b", "a"], 8, cache_dir=tmp_path / "cache")
        assert all(same(case, other) for case, other in zip(cases, expected, strict=True))
        assert source.loads == ["b", "a"]
    assert cases[1].label.dtype == np.uint8
    assert cases[0].label is None
    assert cases[0].original == WHERE


def test_nothing_is_kept_without_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Source()
    prepare_cohort(source, ["a", "a"], 8)
    assert source.loads == ["a", "a"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("change", ["fingerprint", "size", "window", "name"])
def test_whatever_changes_the_result_makes_it_anew(tmp_path, change):
    source, size, window = Source(), 8, (-1000.0, 1000.0)
    prepare_cohort(source, ["a"], size, window_hu=window, cache_dir=tmp_path)
    if change == "fingerprint":
        source.version = "2"
    if change == "name":
        source.name = "other"
    size = 4 if change == "size" else size
    window = (-200.0, 200.0) if change == "window" else window
    (case,) = prepare_cohort(source, ["a"], size, window_hu=window, cache_dir=tmp_path)
    assert source.loads == ["a", "a"]
    assert same(case, prepare(source.load("a"), size, window_hu=window))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "another array"])
def test_damaged_files_are_made_again(tmp_path, damage):
    source = Source()
    (expected,) = prepare_cohort(source, ["a"], 8, cache_dir=tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        at = content.find(expected.image.tobytes()[:64]) + 30
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
    elif damage == "another array":
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, member in members.items():
                archive.writestr(name, members["label.npy"][:200] if name == "image.npy" else member)
    else:
        path.write_bytes(b"" if damage == "empty" else b"not an archive")
    for _ in range(2):
        (case,) = prepare_cohort(source, ["a"], 8, cache_dir=tmp_path)
        assert same(case, expected)
    assert source.loads == ["a", "a"]
    assert list(tmp_path.iterdir()) == [path]


def test_progress_is_told(tmp_path):
    told = []
    prepare_cohort(Source(), ["a", "b"], 8, progress=lambda *step: told.append(step))
    assert told == [(1, 2, "a"), (2, 2, "b")]


def test_a_cohort_on_disk_follows_its_files(tmp_path):
    mmwhs(tmp_path / "data", 1)
    cohort, cache = find_cohort("ct20", tmp_path / "data"), tmp_path / "cache"
    (first,) = prepare_cohort(cohort, cohort.identities, 8, cache_dir=cache)
    write(tmp_path / "data" / "ct_train_1001_image.nii.gz", ct(5) // 2)
    (second,) = prepare_cohort(cohort, cohort.identities, 8, cache_dir=cache)
    assert same(second, prepare(cohort.load("ct_train_1001"), 8))
    assert not np.array_equal(first.image, second.image)
