"""Many rounds of a site as one: noise that differs from round to round averages out, and patients recur.

Between rounds close together the shared weights hardly move, and the site draws its batches from the same patients
again and again. The mean of such rounds' gradients is then nearly the gradient of one large batch of all these
patients, under noise that is smaller by the square root of the number of rounds.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from fedsim_tf.federated.kept_rounds import KeptRound
from fedsim_tf.federated.update import Arrays

_SIZES = tuple(4**power for power in range(1, 16))  # of pools


@dataclasses.dataclass(frozen=True, eq=False)
class AttackedRounds:
    """One round, or successive rounds of one stage and their means.

    Attributes:
      first: the number of the first one.
      mean: mean weights and gradients as those of one round, which has the number of the last one and the identities
        of all volumes of the batches.
    """

    first: int
    mean: KeptRound


def list_pools(rounds: Sequence[KeptRound], *, most_volumes: int) -> list[AttackedRounds]:
    """Return pools of the last 4, 16, 64 and so on and of all rounds of each stage.

    The last ones, because rates end low: there the weights move least.

    Args:
      rounds: those that a site has kept, by stage and round.
      most_volumes: pools of more different volumes are left out, as the attack cannot tell so many apart.
    """
    pools = []
    for _, group in itertools.groupby(rounds, key=lambda one: one.stage):
        stage = list(group)
        chosen = [stage[-size:] for size in _list_sizes(len(stage))]
        pools += [pool_rounds(last) for last in chosen if len(_list_volumes(last)) <= most_volumes]
    return pools


def pool_rounds(rounds: Sequence[KeptRound]) -> AttackedRounds:
    """Return successive rounds of one stage as one pool."""
    weights, gradients = (_mean([getattr(one, kind) for one in rounds]) for kind in ("weights", "gradients"))
    last = rounds[-1]
    return AttackedRounds(rounds[0].round, KeptRound(last.stage, last.round, weights, gradients, _list_volumes(rounds)))


def _list_sizes(count: int) -> list[int]:
    """Return how many rounds are pooled, where there are so many of a stage; a single one is no pool."""
    return [*(size for size in _SIZES if size < count), count] if count > 1 else []


def _list_volumes(rounds: Sequence[KeptRound]) -> tuple[str, ...]:
    """Return the identities of all volumes of the rounds' batches, each once."""
    return tuple(dict.fromkeys(identity for one in rounds for identity in one.batch))


def _mean(arrays: Sequence[Arrays]) -> Arrays:
    return {
        name: np.mean([one[name] for one in arrays], axis=0, dtype=np.float64).astype(np.float32) for name in arrays[0]
    }
