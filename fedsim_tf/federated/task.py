"""What the server asks of every site, and what comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from fedsim_tf.errors import InputError
from fedsim_tf.federated.update import Arrays, SiteUpdate
from fedsim_tf.models.latents import LatentDistribution

BEGIN, GRADIENTS, KEEP, END, ALONE, LATENTS = KINDS = ("begin", "gradients", "keep", "end", "alone", "latents")


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """One question to every site.

    Attributes:
      kind: "begin" a stage, from the checkpoint of a round if there is one; the "gradients" of a round; "keep" a
        checkpoint; "end" a stage; do some work "alone"; the "latents"' moments.
      stage: of "begin", "gradients", "keep" and "end"; the name of the work that is done alone.
      round: how many rounds of the stage are done.
      weights: the shared weights after these.
      distribution: the pooled normal of the latents, for a stage or work that starts from it.
      with_unlabelled: whether "latents" means those of unannotated volumes too.

    Raises:
      InputError: an unknown kind.
    """

    kind: str
    stage: str = ""
    round: int = 0
    weights: Arrays = dataclasses.field(default_factory=dict)
    distribution: LatentDistribution | None = None
    with_unlabelled: bool = False

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError("task", found=repr(self.kind), expected=f"one of {', '.join(KINDS)}")


class Answer(NamedTuple):
    """A site's answer to a task.

    Attributes:
      update: all that its data had a part in, but for the losses.
      losses: of the site's step, for the server's log.
    """

    update: SiteUpdate
    losses: Mapping[str, float]


class Answers(NamedTuple):
    """What came back from the sites.

    Attributes:
      received: one for each site that answered.
      missing: why there is none, by site.
    """

    received: Sequence[Answer]
    missing: Mapping[str, str]


Exchange = Callable[[Task], Answers]  # asks every site; how, is the engine's affair
