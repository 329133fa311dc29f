"""What is compared: the rows of the paper's tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Arm(NamedTuple):
    """One way to train the segmentation network.

    Attributes:
      title: in tables.
      simulator: what makes its synthetic volumes: "pretrained" or "semi_supervised" shape and material networks, the
        latter's "federated" ones, or a "fixed" atlas of materials; empty where it has none.
      finetuned: whether it goes on with real annotated volumes after its first stage.
      federated: whether its first stage needs several sites.
      volumes_of: the arm whose synthetic volumes it uses, where they are not its own.
    """

    title: str
    simulator: str = ""
    finetuned: bool = True
    federated: bool = False
    volumes_of: str = ""


SINGLE_SITE = {
    "lower_bound": Arm("Lower bound (real labels only)"),
    "ours_fix_mat": Arm("Ours-Fix-Mat", "fixed"),
    "ours_pre": Arm("Ours-Pre", "pretrained"),
    "ours_full": Arm("Ours-Full", "semi_supervised"),
    "upper_bound": Arm("Upper bound (all labels)"),
    "random_shape": Arm("Random shape + GAN", "fixed", finetuned=False),
    "alpha_blend": Arm("Random shape + GAN + alpha blend", "fixed", finetuned=False),
    "poisson_blend": Arm("Random shape + GAN + Poisson blend", "fixed", finetuned=False),
    "fix_mat_alone": Arm("Ours-Fix-Mat, synthetic alone", "fixed", finetuned=False, volumes_of="ours_fix_mat"),
}
PARTS = ("single_site", "ablation", "federated", "out_of_distribution")  # of the paper's experiments
ABLATION = ("random_shape", "alpha_blend", "poisson_blend", "fix_mat_alone")  # Table 2
FEDERATED_SIMULATION = "ours_sim_fl"
DIRECT = "direct_fl"
ARMS = {
    **SINGLE_SITE,
    DIRECT: Arm("Direct-FL", federated=True),
    FEDERATED_SIMULATION: Arm("Ours-Sim-FL", "federated", federated=True),
}


def title(arm: str) -> str:
    """The arm's title; names that are no arm's stay as they are."""
    return ARMS[arm].title if arm in ARMS else arm


def simulators(arms: Iterable[str]) -> set[str]:
    """What has to be simulated for these arms."""
    return {ARMS[arm].simulator for arm in arms} - {""}


def drawn_as(arm: str) -> str:
    """The arm under whose name a simulating arm's synthetic volumes are drawn and kept."""
    return ARMS[arm].volumes_of or arm


def last_stage(arm: str) -> str:
    """The stage of segmentation after which an arm's network is taken.

    An arm that is not fine-tuned is the first stage of the arm whose volumes it uses.
    """
    return f"segmentation/{drawn_as(arm)}/{'finetune' if ARMS[arm].finetuned else 'pretrain'}"


def drawn(arms: Iterable[str]) -> tuple[str, ...]:
    """The arms for which synthetic volumes are drawn, each once."""
    return tuple(dict.fromkeys(drawn_as(arm) for arm in arms if ARMS[arm].simulator))


def at_federated_sites(arms: Iterable[str]) -> tuple[str, ...]:
    """These arms with those of one site's own simulation replaced by the federated one's."""
    return tuple(dict.fromkeys(FEDERATED_SIMULATION if ARMS[arm].simulator else arm for arm in arms))


def need_several_sites(arms: Iterable[str]) -> list[str]:
    """Those arms that a single site cannot train."""
    return [arm for arm in arms if ARMS[arm].federated]
