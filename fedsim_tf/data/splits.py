"""Five-fold cross-validation splits that are the same on every machine.

Patients are ordered by a SHA-256 of the seed and their identity, not by a random number generator or by the order of
files: the order does not depend on platform, library version or on which other patients there are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fedsim_tf.config import N_FOLDS
from fedsim_tf.errors import InputError


class SplitSizes(NamedTuple):
    """Patients in each part of a fold."""

    train: int
    validation: int
    test: int

    @property
    def total(self) -> int:
        """Patients in all parts together."""
        return self.train + self.validation + self.test


# Table 1 of the paper.
PAPER_SIZES = {"ct20": SplitSizes(12, 4, 4), "ct34lc": SplitSizes(20, 7, 7), "ct34mc": SplitSizes(20, 7, 7)}


class LabelledFold(NamedTuple):
    """A training part divided into patients whose labels may be used and those whose labels may not."""

    labelled: tuple[str, ...]
    unlabelled: tuple[str, ...]


class Fold(NamedTuple):
    """The patients of one fold; no patient is in two parts. `unannotated` ones have no labels and only train."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    unannotated: tuple[str, ...] = ()

    def with_labels(self, n_labelled: int) -> LabelledFold:
        """The first `n_labelled` training patients as labelled: fewer labels are a part of more.

        Raises:
          InputError: fewer than one, or more than there are.
        """
        if not 1 <= n_labelled <= len(self.train):
            raise InputError("n_labelled", found=n_labelled, expected=f"1 to {len(self.train)}, the training part")
        return LabelledFold(self.train[:n_labelled], self.train[n_labelled:] + self.unannotated)


def split_sizes(name: str, n_cases: int) -> SplitSizes:
    """The paper's sizes for its data sets where all of their patients are there, else about 60, 20 and 20 percent.

    Elsewhere a fifth, rounded up, is tested, so that five folds test every patient.

    Raises:
      InputError: fewer than three patients.
    """
    if name in PAPER_SIZES and PAPER_SIZES[name].total == n_cases:
        return PAPER_SIZES[name]
    if n_cases < 3:
        raise InputError(f"cohort {name}", found=f"{n_cases} annotated cases", expected="at least 3")
    test, validation = -(-n_cases // N_FOLDS), max(1, n_cases // N_FOLDS)
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
    """One fold's patients.

    The test parts of consecutive folds are consecutive windows of the ordered patients, and wrap around at the end:
    20 patients are tested exactly once in 5 folds of 4; of 34 patients in 5 folds of 7, one is tested twice. Where
    fewer windows cover all (12 patients, folds of 3), they overlap, so that no two folds are the same; of three or four
    patients only as many folds differ. The validation part is the window after the test part. Sizes are exact: patients
    beyond `sizes.total`, last in the order, are in no part.

    Args:
      identities: the patients, in any order.
      sizes: of the parts.
      fold: 0 to n_folds - 1.
      n_folds: number of folds.
      seed: another seed gives another split.
      annotated: the patients with labels, default all; the others are no part of `sizes` and come as `unannotated`.

    Raises:
      InputError: fewer annotated patients than the sizes need, a patient twice, an empty part, or no such fold.
    """
    if not 0 <= fold < n_folds:
        raise InputError("fold", found=fold, expected=f"0 to {n_folds - 1}")
    if min(sizes) < 1:
        raise InputError("split sizes", found=tuple(sizes), expected="at least one patient in each part")
    _check_unique(identities)
    ordered = sorted(identities, key=lambda identity: _rank(identity, seed))
    usable = [identity for identity in ordered if annotated is None or identity in annotated]
    if len(usable) < sizes.total:
        needed = f"at least {sizes.total} for {sizes.train} training, {sizes.validation} validation, {sizes.test} test"
        raise InputError("cohort", found=f"{len(usable)} annotated cases", expected=needed)
    unannotated = tuple(identity for identity in ordered if annotated is not None and identity not in annotated)
    return _fold(usable[: sizes.total], sizes, fold)._replace(unannotated=unannotated)


def _fold(ordered: list[str], sizes: SplitSizes, fold: int) -> Fold:
    n = len(ordered)
    if n < N_FOLDS:  # as many folds differ as there are patients
        start = fold % n
    elif (N_FOLDS - 1) * sizes.test < n:
        start = fold * sizes.test
    else:  # windows side by side would come round to the first one: they overlap evenly instead
        start = fold * n // N_FOLDS
    turned = ordered[start:] + ordered[:start]
    held_out = sizes.test + sizes.validation
    # In the turned order: each fold's labelled patients, the first ones, are others than the next fold's.
    return Fold(tuple(turned[held_out:]), tuple(turned[sizes.test : held_out]), tuple(turned[: sizes.test]))


def _rank(identity: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{identity}".encode()).digest()


def _check_unique(identities: Sequence[str]) -> None:
    twice = sorted({identity for identity in identities if list(identities).count(identity) > 1})
    if twice:
        raise InputError("identities", found=f"{twice[0]!r} more than once", expected="every patient once")
