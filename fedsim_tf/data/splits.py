"""Cross-validation splits that are the same on every machine.

Patients are ordered by the SHA-256 of the seed and their identity, not by a random number generator or by the order of
files: the order does not depend on the platform, on library versions or on which other patients there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fedsim_tf.config import N_FOLDS
from fedsim_tf.errors import InputError


class SplitSizes(NamedTuple):
    """The number of patients in each part of a fold."""

    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        """Return the number of patients in all parts together."""
        return sum(self)


# Table 1 of the paper.
PAPER_SIZES = {"ct20": SplitSizes(12, 4, 4), "ct34lc": SplitSizes(20, 7, 7), "ct34mc": SplitSizes(20, 7, 7)}


class LabelledFold(NamedTuple):
    """A training part, divided into patients whose labels may be used and patients whose labels may not."""

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]


class Fold(NamedTuple):
    """The patients of one fold, each in one part; `unannotated` ones have no labels and are for training alone."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    unannotated: tuple[str, ...] = ()

    def with_labels(self, n_labelled: int) -> LabelledFold:
        """Return the training part with its first `n_labelled` patients as labelled: fewer are a subset of more.

        Raises:
          InputError: fewer than one, or more than there are.
        """
        if not 1 <= n_labelled <= len(self.train):
            raise InputError("n_labelled", found=n_labelled, expected=f"1 to {len(self.train)}, the training part")
        return LabelledFold(self.train[:n_labelled], self.train[n_labelled:] + self.unannotated)


def split_sizes(name: str, n_cases: int, *, n_folds: int = N_FOLDS) -> SplitSizes:
    """Return the paper's sizes for its data sets where all their patients are there, else sizes in proportion.

    In proportion, one patient in `n_folds`, rounded up, is tested, so that the folds test everyone. A quarter of the
    others validates: five folds have about 60, 20 and 20 percent.

    Raises:
      InputError: fewer than two folds, or too few patients for three parts.
    """
    if n_folds < 2:
        raise InputError("n_folds", found=n_folds, expected="at least 2")
    if name in PAPER_SIZES and (PAPER_SIZES[name].total, N_FOLDS) == (n_cases, n_folds):
        return PAPER_SIZES[name]
    least = 3 if n_folds > 2 else 4
    if n_cases < least:
        raise InputError(f"cohort {name}", found=f"{n_cases} annotated cases", expected=f"at least {least}")
    test = -(-n_cases // n_folds)
    validation = max(1, (n_cases - test) // 4)
    return SplitSizes(n_cases - validation - test, validation, test)


def split(
    identities: Sequence[str],
    sizes: SplitSizes,
    *,
    fold: int,
    n_folds: int = N_FOLDS,
    seed: int,
    annotated: Collection[str] | None = None,
) -> Fold:
    """Return the patients of one fold of a k-fold cross-validation.

    The test parts of the k folds cover everyone and no two are the same. They are disjoint where k test parts are as
    many patients as there are: 5 folds of 4 test each of 20 patients once. Where they are more, some patients are
    tested twice, as parts have one size in all folds: 5 folds of 7 test one of 34 patients twice. Fewer than k
    patients make only as many folds as there are patients.

    A test part is a window of the ordered patients, which wraps around at the end, and the validation part is the
    window after it. Patients beyond `sizes.total`, last in the order, are in no part.

    Args:
      identities: the patients, in any order.
      sizes: the number of patients in each part.
      fold: the fold's index, from 0.
      n_folds: k.
      seed: another seed gives another split.
      annotated: the patients with labels, default all; the others do not count in `sizes` and come as `unannotated`.

    Raises:
      InputError: no such fold, an empty part, test parts that leave patients out, a patient given twice, or fewer
        annotated patients than the sizes need.
    """
    _check_folds(sizes, fold=fold, n_folds=n_folds)
    _check_unique(identities)
    ordered = sorted(identities, key=lambda identity: _rank(identity, seed))
    usable = [identity for identity in ordered if annotated is None or identity in annotated]
    if len(usable) < sizes.total:
        needed = f"at least {sizes.total} for {sizes.train} training, {sizes.validation} validation, {sizes.test} test"
        raise InputError("cohort", found=f"{len(usable)} annotated cases", expected=needed)
    unannotated = tuple(identity for identity in ordered if annotated is not None and identity not in annotated)
    start = _find_start(sizes, fold, n_folds)
    turned = usable[start : sizes.total] + usable[:start]
    held_out = sizes.test + sizes.validation
    # In the turned order, the first training patients, whose labels are used, differ from one fold to the next.
    train, validation, test = turned[held_out:], turned[sizes.test : held_out], turned[: sizes.test]
    return Fold(tuple(train), tuple(validation), tuple(test), unannotated)


def _check_folds(sizes: SplitSizes, *, fold: int, n_folds: int) -> None:
    if min(sizes) < 1:
        raise InputError("sizes", found=tuple(sizes), expected="at least one patient in each part")
    if n_folds * sizes.test < sizes.total:
        found = f"{n_folds} folds that test {sizes.test} of {sizes.total} patients each"
        raise InputError("n_folds", found=found, expected="folds that test every patient")
    if not 0 <= fold < min(n_folds, sizes.total):
        raise InputError("fold", found=fold, expected=f"0 to {min(n_folds, sizes.total) - 1}")


def _find_start(sizes: SplitSizes, fold: int, n_folds: int) -> int:
    """Return where a fold's test part begins among the ordered patients."""
    if sizes.total < n_folds:
        return fold
    if (n_folds - 1) * sizes.test < sizes.total:
        return fold * sizes.test
    # Windows side by side would come round to the first one: they overlap evenly instead.
    return fold * sizes.total // n_folds


def _rank(identity: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{identity}".encode()).digest()


def _check_unique(identities: Sequence[str]) -> None:
    seen: set[str] = set()
    for identity in sorted(identities):
        if identity in seen:
            raise InputError("identities", found=f"{identity!r} more than once", expected="every patient once")
        seen.add(identity)
