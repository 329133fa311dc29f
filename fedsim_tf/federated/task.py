"""The tasks that the server gives to every site, and the answers that it gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution

BEGIN, GRADIENTS, KEEP, END, ALONE, LATENTS = KINDS = ("begin", "gradients", "keep", "end", "alone", "latents")


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A request that every site gets alike.

    Attributes:
      kind: what a site has to do.
        "begin": open a stage, from the checkpoint of `round` if there is one.
        "gradients": compute the gradients of a round.
        "keep": write a checkpoint.
        "end": close a stage.
        "alone": do some work in which no other site has a part.
        "latents": give the moments of its latents.
      stage: name of the stage, or of the work that is done alone; "" for "latents".
      round: how many rounds of the stage are done.
      weights: the shared weights after these rounds, by name; none where sites alone know them.
      encrypted: there instead the sum of all sites' encrypted gradients of the round before, until each has moved its
        weights by it.
      distribution: the normal fitted to the latents of all sites, for a stage or work that draws from it.
      encrypted_latents: there instead the sum of all sites' encrypted moments of latents, of which each site makes the
        normal.
      with_unlabelled: whether "latents" includes those of unannotated volumes.

    Raises:
      InputError: the kind is unknown.
    """

    kind: str
    stage: str = ""
    round: int = 0
    weights: Arrays = dataclasses.field(default_factory=dict)
    distribution: LatentDistribution | None = None
    with_unlabelled: bool = False
    encrypted: Arrays = dataclasses.field(default_factory=dict)
    encrypted_latents: Arrays = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError("task", found=repr(self.kind), expected=f"one of {', '.join(KINDS)}")


class PooledLatents(NamedTuple):
    """What the server has of all sites' latents, which tasks bring to those sites that draw from them.

    Attributes:
      distribution: the normal fitted to them; None where the server cannot read moments, or has none.
      encrypted: there instead the sum of the sites' encrypted moments.
    """

    distribution: LatentDistribution | None = None
    encrypted: Arrays = MappingProxyType({})


NO_LATENTS = PooledLatents()


class Answer(NamedTuple):
    """A site's answer to a task.

    Attributes:
      update: gradients and moments of latents.
      losses: the losses of the site's step, by name; the server logs them.
    """

    update: SiteUpdate
    losses: Mapping[str, float]


class Answers(NamedTuple):
    """The answers of all sites to one task.

    Attributes:
      received: one answer for each site that gave one.
      missing: the reason why there is no answer, by site.
    """

    received: Sequence[Answer]
    missing: Mapping[str, str]


# Gives a task to every site and returns their answers. Each engine has one: a loop in this process, or FLARE.
Exchange = Callable[[Task], Answers]
