import collections
import hashlib
import random

import pytest

from fedsim_tf.data.splits import SplitSizes, split, split_sizes
from tests.data.files_for_tests import refused

CT20 = [f"ct_train_{number}" for number in range(1001, 1021)]
CT34 = [f"ct_{number}" for number in range(1001, 1035)]
# Fold 1 of seed 0, put in order with coreutils (printf 0:ct_train_1001 | sha256sum), not with Python.
GOLDEN_TEST = ("ct_train_1012", "ct_train_1003", "ct_train_1018", "ct_train_1006")
GOLDEN_VALIDATION = ("ct_train_1014", "ct_train_1016", "ct_train_1010", "ct_train_1002")
COHORTS = {"ct20": CT20, "ct34lc": CT34, "ct34mc": CT34, "nifti": [f"p{n}" for n in range(23)]}


@pytest.mark.parametrize("name", COHORTS)
@pytest.mark.parametrize("seed", [0, 7])
def test_parts_have_their_sizes_are_disjoint_and_cover_everyone(name, seed):
    identities = COHORTS[name]
    sizes = split_sizes(name, len(identities))
    tested = collections.Counter()
    for fold in range(5):
        parts = split(identities, sizes, fold=fold, seed=seed)
        assert (len(parts.train), len(parts.validation), len(parts.test)) == sizes
        everyone = parts.train + parts.validation + parts.test
        assert sorted(everyone) == sorted(identities)
        tested.update(parts.test)
    assert set(tested) == set(identities)
    assert sum(tested.values()) == 5 * sizes.test
    assert max(tested.values()) - 1 <= sizes.test * 5 - len(identities)


def test_sizes_are_the_papers():
    assert split_sizes("ct20", 20) == (12, 4, 4)
    assert split_sizes("ct34lc", 34) == split_sizes("ct34mc", 34) == (20, 7, 7)


def test_a_division_of_ones_own_leaves_nobody_out():
    assert split_sizes("ct34lc", 38) == (23, 7, 8)
    assert split_sizes("ct34mc", 30) == (18, 6, 6)


@pytest.mark.parametrize(("names", "sizes", "labels"), [(CT20, (12, 4, 4), 4), (CT34, (20, 7, 7), 6)])
def test_no_two_folds_have_the_same_labelled_patients(names, sizes, labels):
    """With the smaller number of labels no patient is labelled in two folds: each is a training set of its own."""
    parts = [split(names, SplitSizes(*sizes), fold=fold, seed=0) for fold in range(5)]
    counts = collections.Counter(name for part in parts for name in part.with_labels(labels).labelled)
    assert max(counts.values()) == 1
    assert len({frozenset(part.with_labels(2 * labels).labelled) for part in parts}) == 5


@pytest.mark.parametrize(("n", "expected"), [(3, (1, 1, 1)), (5, (3, 1, 1)), (10, (6, 2, 2)), (23, (14, 4, 5))])
def test_other_cohorts_are_divided_in_proportion(n, expected):
    assert split_sizes("nifti", n) == expected


@pytest.mark.parametrize("n", range(3, 40))
def test_no_two_folds_test_the_same_patients(n):
    names = [f"p{k}" for k in range(n)]
    folds = [split(names, split_sizes("nifti", n), fold=fold, seed=0).test for fold in range(min(5, n))]
    assert len(set(map(frozenset, folds))) == len(folds)


@pytest.mark.parametrize("n_folds", range(2, 11))
@pytest.mark.parametrize("test_size", range(2, 6))
def test_k_folds_test_everyone_once_where_sizes_allow(n_folds, test_size):
    """With k equal test parts, the folds partition the patients."""
    names = [f"p{k}" for k in range(n_folds * test_size)]
    sizes = split_sizes("nifti", len(names), n_folds=n_folds)
    folds = [split(names, sizes, fold=fold, n_folds=n_folds, seed=0) for fold in range(n_folds)]
    assert sorted(name for fold in folds for name in fold.test) == sorted(names)
    for parts in folds:
        assert (len(parts.train), len(parts.validation), len(parts.test)) == sizes
        assert sorted(parts.train + parts.validation + parts.test) == sorted(names)


@pytest.mark.parametrize("n_folds", range(2, 11))
@pytest.mark.parametrize("n", [4, 7, 10, 13, 22, 34, 41])
def test_k_folds_differ_and_test_nobody_more_than_twice(n_folds, n):
    names, sizes = [f"p{k}" for k in range(n)], split_sizes("ct34lc", n, n_folds=n_folds)
    tests = [split(names, sizes, fold=fold, n_folds=n_folds, seed=3).test for fold in range(min(n_folds, n))]
    assert len(set(map(frozenset, tests))) == len(tests)
    counts = collections.Counter(name for test in tests for name in test)
    assert set(counts) == set(names)
    assert max(counts.values()) <= 2


def test_folds_that_cannot_be_are_refused():
    refused(lambda: split_sizes("nifti", 20, n_folds=1), "n_folds", "found 1", "at least 2")
    refused(lambda: split_sizes("nifti", 3, n_folds=2), "found 3", "at least 4")
    sizes = SplitSizes(12, 4, 4)
    refused(lambda: split(CT20, sizes, fold=0, n_folds=4, seed=0), "n_folds", "4 folds that test 4 of 20 patients each")
    refused(lambda: split(CT20, sizes, fold=7, n_folds=7, seed=0), "fold", "found 7", "0 to 6")
    few = [f"p{k}" for k in range(4)]
    refused(lambda: split(few, SplitSizes(2, 1, 1), fold=4, seed=0), "fold", "found 4", "0 to 3")


def test_one_of_34_is_tested_twice():
    tested = collections.Counter(
        identity for fold in range(5) for identity in split(CT34, SplitSizes(20, 7, 7), fold=fold, seed=0).test
    )
    assert sorted(tested.values()) == [1] * 33 + [2]


def test_order_is_that_of_the_hashes():
    ordered = sorted(CT20, key=lambda identity: hashlib.sha256(f"3:{identity}".encode()).hexdigest())
    parts = split(CT20, SplitSizes(12, 4, 4), fold=0, seed=3)
    assert parts.test + parts.validation + parts.train == tuple(ordered)


def test_golden_split():
    parts = split(CT20, SplitSizes(12, 4, 4), fold=1, seed=0)
    assert parts.test == GOLDEN_TEST
    assert parts.validation == GOLDEN_VALIDATION


def test_order_of_files_does_not_matter_and_the_seed_does():
    shuffled = random.Random(1).sample(CT34, 34)
    sizes = SplitSizes(20, 7, 7)
    assert split(shuffled, sizes, fold=2, seed=0) == split(CT34, sizes, fold=2, seed=0)
    assert split(CT34, sizes, fold=2, seed=1) != split(CT34, sizes, fold=2, seed=0)


def test_fewer_labels_are_a_part_of_more():
    parts = split(CT20, SplitSizes(12, 4, 4), fold=4, seed=0)
    four, eight = parts.with_labels(4), parts.with_labels(8)
    assert set(four.labelled) < set(eight.labelled)
    for chosen, n in ((four, 4), (eight, 8)):
        assert len(chosen.labelled) == n
        assert sorted(chosen.labelled + chosen.unlabelled) == sorted(parts.train)
    assert parts.with_labels(12).unlabelled == ()
    refused(lambda: parts.with_labels(13), "n_labelled", "found 13", "1 to 12")
    refused(lambda: parts.with_labels(0), "n_labelled")


def test_cases_that_are_not_annotated_only_train_without_labels():
    sizes = SplitSizes(12, 4, 4)
    parts = split([*CT20, "x1", "x2"], sizes, fold=0, seed=0, annotated=CT20)
    assert parts[:3] == split(CT20, sizes, fold=0, seed=0)[:3]
    assert sorted(parts.unannotated) == ["x1", "x2"]
    assert set(parts.with_labels(4).unlabelled) >= {"x1", "x2"}
    assert len(parts.with_labels(4).unlabelled) == 10


def test_surplus_cases_are_in_no_part():
    parts = split(CT34, SplitSizes(12, 4, 4), fold=0, seed=0)
    assert len(set(parts.train + parts.validation + parts.test)) == 20
    assert parts.unannotated == ()


def test_bad_input_is_refused():
    sizes = SplitSizes(12, 4, 4)
    refused(lambda: split(CT20[:19], sizes, fold=0, seed=0), "found 19", "at least 20")
    refused(lambda: split(CT20, sizes, fold=0, seed=0, annotated=CT20[:5]), "found 5 annotated")
    refused(lambda: split([*CT20, CT20[3]], sizes, fold=0, seed=0), CT20[3], "more than once")
    refused(lambda: split(CT20, sizes, fold=5, seed=0), "fold", "found 5", "0 to 4")
    refused(lambda: split(CT20, SplitSizes(12, 0, 4), fold=0, seed=0), "at least one patient")
    refused(lambda: split_sizes("nifti", 2), "found 2", "at least 3")


@pytest.mark.parametrize("n", range(5, 41))
def test_no_two_folds_are_the_same_and_everyone_is_tested(n):
    identities = [f"p{number}" for number in range(n)]
    tests = [split(identities, split_sizes("nifti", n), fold=fold, seed=0).test for fold in range(5)]
    assert len(set(tests)) == 5
    assert set().union(*tests) == set(identities)
