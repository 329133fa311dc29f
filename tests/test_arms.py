"""Arms: which share volumes, which share a network, and what becomes of them among several sites."""

import pytest

from fedsim_tf.arms import (
    ABLATION,
    ARMS,
    BEYOND_PAPER,
    FEDERATED_ROWS,
    federate_arms,
    get_network_arm,
    get_volumes_arm,
    last_stage,
    list_volumes_arms,
    share_volumes,
    simulate_together,
)

AUGMENTED = [arm for arm in ARMS if ARMS[arm].augmented]


@pytest.mark.parametrize("arm", AUGMENTED)
def test_an_augmented_arm_is_its_plain_one_with_a_network_of_its_own(arm):
    plain = arm.removesuffix("_augmented")
    assert ARMS[arm].simulator == ARMS[plain].simulator
    assert get_volumes_arm(arm) == (plain if ARMS[plain].simulator else arm)
    assert last_stage(arm) == f"segmentation/{arm}/finetune" != last_stage(plain)


def test_what_ends_before_fine_tuning_is_the_first_stage_of_the_network_that_is_tuned():
    assert get_network_arm("fix_mat_alone") == "ours_fix_mat"
    assert last_stage("fix_mat_alone") == "segmentation/ours_fix_mat/pretrain"


def test_arms_of_the_same_volumes_get_what_was_made_of_them_once():
    arms = ("ours_plus_augmented", "lower_bound_augmented", "ours_plus", "fix_mat_alone")
    assert list_volumes_arms(arms) == ("ours_plus", "ours_fix_mat")
    assert share_volumes({"ours_plus": 5}, arms) == {"ours_plus_augmented": 5, "ours_plus": 5}
    assert share_volumes({}, arms) == {}


def test_among_sites_those_that_simulate_alone_become_one():
    assert federate_arms(("lower_bound_augmented", "ours_plus_augmented", "ours_full")) == (
        "lower_bound_augmented",
        "ours_sim_fl",
    )


def test_sites_simulate_together_for_what_they_simulate_at_all():
    assert simulate_together(("ours_full",))  # which among sites is Ours-Sim-FL
    assert simulate_together(("ours_sim_fl_plus",))
    assert not simulate_together(("lower_bound", "direct_fl"))
    assert federate_arms(("ours_plus", "ours_sim_fl_plus")) == ("ours_sim_fl", "ours_sim_fl_plus")


def test_every_row_is_an_arm():
    assert {*ABLATION, *BEYOND_PAPER, *FEDERATED_ROWS} <= set(ARMS)
