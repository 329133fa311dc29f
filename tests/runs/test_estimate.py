import pathlib
import re
import types

import pytest

from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.runs.estimate import describe_elsewhere, describe_run
from fedsim_tf.runs.inputs import count_labels
from fedsim_tf.runs.start import RunStart, check_elsewhere


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def plan(preset="demo", *, sites=("ct34lc",), run_dir="runs/mine", as_federated=False, **changes):
    config = make_config(preset, **changes)
    labels = {site: count_labels(config, site, federated=as_federated) for site in sites}
    start = RunStart(
        config=config,
        run_dir=pathlib.Path(run_dir),
        cache_dir=pathlib.Path("cache"),
        sites=sites,
        labels=labels,
        folds=range(config.data.folds),
        shape_model=None,
        federated=as_federated,
    )
    if not config.is_phantom:  # data sets that have far more volumes than are annotated
        parts = types.SimpleNamespace(train=range(1000))
        start.__dict__["cohorts"] = dict.fromkeys(sites, types.SimpleNamespace(fold=lambda *_, **__: parts))
    return describe_run(start)


def steps_of(text):
    """Stage to its number of steps, from the plan's lines."""
    return {name.strip(): int(steps) for name, steps in re.findall(r"^  (.+?)\s+(\d+) steps?", text, re.M)}


def test_plan_names_data_preset_run_folder_and_arms():
    text = plan(model={"vgg_weights": "random"})
    for wanted in (
        "phantom cohort (ct34lc)",
        "preset demo",
        "runs/mine",
        "lower_bound, ours_full, ours_plus, upper_bound",
    ):
        assert wanted in text
    assert "VGG-19 weights: random" in text
    assert "1 of 5 folds" in text
    assert "32^3 voxels" in text


def test_plan_names_the_folder_of_real_data_and_no_phantom():
    text = plan("paper", sites=("ct20", "ct34mc"), data={"root": "/data/hearts"})
    assert "ct20 in /data/hearts, ct34mc in /data/hearts" in text
    assert "phantom" not in text


def test_plan_counts_the_steps_of_all_folds_sites_and_arms():
    text = plan(
        "paper",
        sites=("ct20", "ct34lc"),
        data={"folds": 3, "root": "/data"},
        pretraining={"steps": 10},
        gan={"steps": 100},
        semi={"steps": 7},
        synthesis={"volumes": 5},
        segmentation={"arms": ("lower_bound", "ours_full"), "pretraining_steps": 20, "finetuning_steps": 30},
    )
    assert steps_of(text) == {
        "generator pre-training": 60,
        "GAN pre-training": 600,
        "semi-supervised": 42,
        "synthetic volumes": 30,
        "3D U-Nets, all arms": 6 * 2 * 50,
    }


def test_plan_counts_bounds_that_are_one_network_once():
    arms = {"segmentation": {"arms": ("lower_bound", "upper_bound"), "pretraining_steps": 20, "finetuning_steps": 30}}
    assert steps_of(plan(sites=("ct20",), data={"labels": 11}, **arms))["3D U-Nets, all arms"] == 2 * 50
    assert steps_of(plan(sites=("ct20",), data={"labels": 12}, **arms))["3D U-Nets, all arms"] == 50


def test_ours_plus_has_steps_and_volumes_of_its_own():
    arms, plus = ("ours_full", "ours_plus"), {"steps": 9, "volumes": 11}
    steps = steps_of(plan(segmentation={"arms": arms}, plus=plus, synthesis={"volumes": 5}))
    assert (steps["Ours-Plus, enhancement"], steps["synthetic volumes"]) == (9, 5 + 11)
    assert "Ours-Plus, enhancement" not in steps_of(plan(plus={"enhancement": "slices"}))
    assert steps_of(plan(segmentation={"arms": ("ours_plus",)}))["semi-supervised"] == 100


def test_plan_with_phantoms_says_that_they_are_made_first():
    assert plan().splitlines()[4].strip().startswith("phantom")


def test_plan_says_the_labels_that_the_run_will_use():
    assert "ct20 4, ct34lc 6" in plan(sites=("ct20", "ct34lc"))
    assert "ct34lc 9" in plan(data={"labels": 9})
    assert "nifti 6" in plan(sites=("nifti",), data={"root": "/data"})


def test_federated_plan_with_more_labels_says_the_larger_numbers():
    """The run uses the paper's larger numbers; the plan must not say the smaller ones."""
    sites = ("ct20", "ct34lc", "ct34mc")
    text = plan(sites=sites, as_federated=True, federated={"more_labels": True})
    assert "ct20 8, ct34lc 12, ct34mc 12" in text
    assert "ct20 4, ct34lc 6, ct34mc 6" in plan(sites=sites, as_federated=True)


def test_federated_plan_has_one_arm_in_place_of_a_sites_own_ones():
    arms = ("lower_bound", "ours_pre", "ours_full", "upper_bound")
    text = plan(as_federated=True, segmentation={"arms": arms, "pretraining_steps": 10, "finetuning_steps": 5})
    assert "arms: lower_bound, ours_sim_fl, upper_bound" in text
    assert steps_of(text)["3D U-Nets, all arms"] == 3 * 15


def test_the_plan_of_hospitals_says_nothing_of_this_machine():
    config = make_config("demo", data={"labels": 4})
    text = describe_elsewhere(config, sites=("leeds", "turin"), run_name="runs/mine", only_fold=None)
    assert "leeds, turin: each its own data" in text
    assert "run folder: runs/mine there" in text
    assert re.search(r"disk for checkpoints: \S+ [MG]B, each site's share at the site", text)
    assert "phantom" not in text


def test_a_plan_that_would_pool_no_latents_is_refused():
    """Else that would be found after days of pre-training."""

    def check(**changes):
        config = make_config("demo", data={"labels": 2}, **changes)
        check_elsewhere(config, sites=("ct20", "ct34lc"), only_fold=None)

    with pytest.raises(InputError, match=r"data.labels is 2; it must be at least 3, .*federated.latents_of"):
        check()
    check(segmentation={"arms": ("direct_fl",)})
    check(federated={"latents_of": 2})


def test_bounds_alone_need_no_simulation():
    names = set(steps_of(plan(segmentation={"arms": ("lower_bound", "upper_bound")})))
    assert names == {"phantom sites, first use", "3D U-Nets, all arms"}


@pytest.mark.parametrize("preset", ["demo", "small", "paper"])
def test_plan_estimates_more_time_for_more_steps(preset):
    few, many = (plan(preset, data={"root": "/data"}, gan={"steps": steps}) for steps in (1000, 1_000_000))
    assert seconds_of(many) > 2 * seconds_of(few) > 0


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_plan_estimates_less_time_where_bfloat16_is_fast(preset):
    slow, fast = (plan(preset, model={"precision": precision}) for precision in ("float32", "bfloat16"))
    assert seconds_of(slow) > seconds_of(fast)


def seconds_of(text):
    """The plan's last line in seconds."""
    number, unit = re.search(r"estimated time on two cores: ([\d.]+) (s|min|h|days) \(", text).groups()
    return float(number) * {"s": 1, "min": 60, "h": 3600, "days": 86400}[unit]


def test_plan_counts_fixed_materials_and_arms_without_fine_tuning():
    """Fix-Mat with and without fine-tuning use the same volumes."""
    text = plan(
        pretraining={"steps": 10},
        gan={"steps": 20},
        synthesis={"volumes": 5},
        segmentation={
            "arms": ("alpha_blend", "ours_fix_mat", "fix_mat_alone"),
            "pretraining_steps": 30,
            "finetuning_steps": 40,
        },
    )
    assert steps_of(text) == {
        "phantom sites, first use": 1,
        "fixed materials, shape": 10,
        "fixed materials, GAN": 20,
        "synthetic volumes": 10,
        "3D U-Nets, all arms": 30 + 30 + 40,
    }


def test_plan_says_the_disk_for_the_last_two_checkpoints_of_every_stage():
    """Of the lower bound two stages, of Ours-Full these and three before them, the last with one checkpoint alone."""
    text = plan(
        checkpoint_every=50,
        data={"folds": 2},
        pretraining={"steps": 100},
        gan={"steps": 100},
        semi={"steps": 50},
        segmentation={"arms": ("lower_bound", "ours_full"), "pretraining_steps": 100, "finetuning_steps": 51},
    )
    megabytes = 2 * (2 * 24 + 2 * 57 + 58 + 2 * 2 * 2 * 5)
    assert f"disk for checkpoints: {megabytes} MB; " in text
