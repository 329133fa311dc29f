"""Arms: the ways to train the segmentation network that the rows of the paper's tables compare."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Arm(NamedTuple):
    """One way to train the segmentation network.

    Attributes:
      title: its name in tables.
      simulator: what makes its synthetic volumes: shape and material networks of a site ("pretrained" or
        "semi_supervised", or "plus" with what goes beyond the paper) or of all sites ("federated", "federated_plus"), a
        "fixed" atlas of materials, or "random" CT values; empty where it has none.
      finetuned: whether a second stage trains on real annotated volumes.
      federated: whether its first stage needs several sites.
      volumes_of: the arm whose synthetic volumes it uses, where they are not its own.
      augmented: whether its volumes, synthetic and real, are changed at random while the network learns.
    """

    title: str
    simulator: str = ""
    finetuned: bool = True
    federated: bool = False
    volumes_of: str = ""
    augmented: bool = False


PLAIN_GAN_ARM = "fix_mat_plain_gan"
SINGLE_SITE = {
    "lower_bound": Arm("Lower bound (real labels only)"),
    "ours_fix_mat": Arm("Ours-Fix-Mat", "fixed"),
    "ours_pre": Arm("Ours-Pre", "pretrained"),
    "ours_full": Arm("Ours-Full", "semi_supervised"),
    "ours_plus": Arm("Ours-Plus", "plus"),
    "upper_bound": Arm("Upper bound (all labels)"),
    "random_contrast": Arm("Random contrasts (as SynthSeg)", "random"),
    "lower_bound_augmented": Arm("Lower bound, augmented", augmented=True),
    "random_contrast_augmented": Arm(
        "Random contrasts, augmented", "random", volumes_of="random_contrast", augmented=True
    ),
    "ours_full_augmented": Arm("Ours-Full, augmented", "semi_supervised", volumes_of="ours_full", augmented=True),
    "ours_plus_augmented": Arm("Ours-Plus, augmented", "plus", volumes_of="ours_plus", augmented=True),
    "random_place": Arm("Random shape, place and size + GAN", "fixed", finetuned=False),
    "random_shape": Arm("Random shape + GAN", "fixed", finetuned=False),
    "alpha_blend": Arm("Random shape + GAN + alpha blend", "fixed", finetuned=False),
    "poisson_blend": Arm("Random shape + GAN + Poisson blend", "fixed", finetuned=False),
    PLAIN_GAN_ARM: Arm("Ours-Fix-Mat, synthetic alone, plain GAN", "fixed", finetuned=False),
    "fix_mat_alone": Arm("Ours-Fix-Mat, synthetic alone", "fixed", finetuned=False, volumes_of="ours_fix_mat"),
}
PARTS = ("single_site", "ablation", "federated", "out_of_distribution")  # the paper's experiments
# Table 2
ABLATION = ("random_place", "random_shape", "alpha_blend", "poisson_blend", PLAIN_GAN_ARM, "fix_mat_alone")
# Rows that go beyond those of Table 3: this project's own arm, and what one would do instead or besides.
BEYOND_PAPER = (
    *("ours_plus", "random_contrast", "lower_bound_augmented", "random_contrast_augmented"),
    *("ours_full_augmented", "ours_plus_augmented"),
)
# Rows that one site fills in Table 3, where no others are asked for.
SINGLE_SITE_ROWS = ("lower_bound", "ours_fix_mat", "ours_pre", "ours_full", "ours_plus", "upper_bound")
LOWER_BOUND, UPPER_BOUND = "lower_bound", "upper_bound"
FEDERATED_SIMULATION, FEDERATED_PLUS = "ours_sim_fl", "ours_sim_fl_plus"
DIRECT = "direct_fl"
ARMS = {
    **SINGLE_SITE,
    DIRECT: Arm("Direct-FL", federated=True),
    FEDERATED_SIMULATION: Arm("Ours-Sim-FL", "federated", federated=True),
    FEDERATED_PLUS: Arm("Ours-Sim-FL-Plus", "federated_plus", federated=True),
}

FEDERATED_ROWS = (DIRECT, FEDERATED_SIMULATION)  # of Table 3; the federated arm with what goes beyond may be asked for


def title(arm: str) -> str:
    """Return the arm's title; a name that is no arm's stays as it is."""
    return ARMS[arm].title if arm in ARMS else arm


def simulators(arms: Iterable[str]) -> set[str]:
    """Return what makes the synthetic volumes of these arms, see `Arm`."""
    return {ARMS[arm].simulator for arm in arms} - {""}


def get_volumes_arm(arm: str) -> str:
    """Return the arm under whose name an arm's synthetic volumes are drawn and kept."""
    return ARMS[arm].volumes_of or arm


def get_network_arm(arm: str) -> str:
    """Return the arm under whose name an arm's network learns.

    An arm that is not fine-tuned is the first stage of the arm whose volumes it uses; an augmented one learns anew.
    """
    return arm if ARMS[arm].augmented else get_volumes_arm(arm)


def last_stage(arm: str) -> str:
    """Return the stage of segmentation after which an arm's network is taken."""
    return f"segmentation/{get_network_arm(arm)}/{'finetune' if ARMS[arm].finetuned else 'pretrain'}"


def choose_trained(arm: str, arms: Collection[str], *, all_annotated: bool) -> str:
    """Return the arm whose network is taken for an arm, which is the arm itself but for one case.

    Where all training volumes are annotated, both bounds learn from the same volumes in the same way: the lower bound's
    network is the upper bound's too, and is trained once.

    Args:
      arm: the arm.
      arms: all arms that are compared.
      all_annotated: whether every training volume is used with its annotation.
    """
    is_same = all_annotated and arm == UPPER_BOUND and LOWER_BOUND in arms
    return LOWER_BOUND if is_same else arm


def list_volumes_arms(arms: Iterable[str]) -> tuple[str, ...]:
    """Return the arms under whose names these arms' synthetic volumes are drawn and kept, each once."""
    return tuple(dict.fromkeys(get_volumes_arm(arm) for arm in arms if ARMS[arm].simulator))


def share_volumes(made: Mapping[str, T], arms: Iterable[str]) -> dict[str, T]:
    """Return by arm what was made of the synthetic volumes that it uses; arms of which nothing was made are left out.

    Args:
      made: by the arm under whose name the volumes are kept.
      arms: the arms that are asked about.
    """
    return {arm: made[get_volumes_arm(arm)] for arm in arms if get_volumes_arm(arm) in made}


def federate_arms(arms: Iterable[str]) -> tuple[str, ...]:
    """Return these arms with those that one site simulates for replaced by the federated simulation's."""
    alone = {arm for arm in ARMS if ARMS[arm].simulator and not ARMS[arm].federated}
    return tuple(dict.fromkeys(FEDERATED_SIMULATION if arm in alone else arm for arm in arms))


def simulate_together(arms: Iterable[str]) -> bool:
    """Return whether sites that train these arms learn to simulate together."""
    return any(ARMS[arm].simulator and ARMS[arm].federated for arm in federate_arms(arms))


def need_several_sites(arms: Iterable[str]) -> list[str]:
    """Return those arms that a single site cannot train."""
    return [arm for arm in arms if ARMS[arm].federated]
