"""The jobs behind the paper's tables: every cell once, shared stages once, each with the flags of its own command."""

import pathlib
import re

import pytest

from fedsim_tf.arms import ABLATION
from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.evaluation import paper
from fedsim_tf.runs import inputs
from fedsim_tf.schedule.paper_runs import PaperRuns, explain_left_out, paper_jobs
from fedsim_tf.schedule.plan import Plan

SITES = ("ct20", "ct34lc", "ct34mc")


def wanted(**changes):
    config = make_config("demo", data={"folds": changes.pop("folds", 5)})
    flags = ("--preset=demo", "--cache_dir=/cache")
    return PaperRuns(**{"config": config, "flags": flags, "root": pathlib.Path("runs/g"), "sites": SITES, **changes})


def jobs(**changes):
    return {job.name: job for job in paper_jobs(wanted(**changes))}


def flag(job, name):
    (found,) = [text.partition("=")[2] for text in job.command if text.startswith(f"--{name}=")]
    return found


def test_every_cell_of_table_3_has_five_folds_and_a_record():
    found = jobs()
    for site, labels in paper.COLUMNS:
        run = f"single_site/{site}-{labels}"
        assert [name for name in found if name.startswith(f"{run}/")] == [f"{run}/fold_{k}" for k in range(5)]
        assert flag(found[run], "dataset") == site
        assert flag(found[run], "data_labels") == str(labels)
    assert [flag(found[f"federated/{size}"], "federated_more_labels") for size in ("fewer", "more")] == [
        "false",
        "true",
    ]
    assert len(found) == 3 + 6 * 6 + 2 * 6 + 6


def test_each_row_of_the_tables_runs_in_every_column_and_the_upper_bound_once_a_site():
    found = jobs()
    for (experiment, arm), _ in paper.TABLE_3.items():
        runs = [name for name in found if name.startswith(f"{experiment}/") and "fold" not in name]
        having = [name for name in runs if arm in flag(found[name], "segmentation_arms").split(",")]
        expected = {name for name in runs if re.search("-[46]$", name)} if arm == "upper_bound" else set(runs)
        assert set(having) == expected, arm
    ablations = [name for name, job in found.items() if any(ABLATION[0] in text for text in job.command)]
    assert {name.rpartition("/")[0] or name for name in ablations} == {"single_site/ct20-4", "single_site"}


def test_folds_wait_for_their_sites_and_records_for_folds():
    found = jobs()
    assert found["single_site/ct20-8/fold_3"].after == ("prepare/ct20",)
    assert found["federated/more/fold_0"].after == tuple(f"prepare/{site}" for site in SITES)
    assert found["single_site/ct20-8"].after == tuple(f"single_site/ct20-8/fold_{k}" for k in range(5))
    visit = found["out_of_distribution/ct20-at-ct34mc"]
    assert visit.after == ("single_site/ct20-4", "single_site/ct34mc-6", "federated/fewer")
    assert flag(visit, "federated") == "runs/g/federated/fewer"
    alone = jobs(parts=("single_site", "out_of_distribution"))["out_of_distribution/ct20-at-ct34mc"]
    assert alone.after == ("single_site/ct20-4", "single_site/ct34mc-6")


def test_jobs_make_a_plan_with_a_time(tmp_path):
    plan = Plan(paper_jobs(wanted()), tmp_path)
    assert "57 jobs, 0 done" in plan.describe(processes=1, speed=1.0)
    assert all(job.seconds > 0 for job in plan.jobs.values())
    assert all("--preset=demo" in job.command or "experiments.out_of" in job.command[0] for job in plan.jobs.values())
    assert all("--cache_dir=/cache" in job.command for job in plan.jobs.values())


def test_a_part_of_the_tables():
    found = jobs(sites=("ct20",), label_sizes=("fewer",), parts=("single_site",), folds=3)
    assert list(found) == ["prepare/ct20", *[f"single_site/ct20-4/fold_{k}" for k in range(3)], "single_site/ct20-4"]
    more = jobs(sites=("ct20",), label_sizes=("more",), parts=("single_site",))
    assert "upper_bound" in flag(more["single_site/ct20-8"], "segmentation_arms")


def test_kinds_of_labels_have_runs_of_their_own_side_by_side():
    both, heart = jobs(label_kinds=("heart", "regions"), folds=2), jobs(folds=2)
    assert {name: both[name] for name in heart} == heart
    others = [name for name in both if name not in heart]
    assert len(others) == len(heart) - len(SITES)  # volumes are prepared once
    for name in others:
        run, _, fold = name.partition("/fold_")
        other = heart[run.removesuffix("-regions") + (f"/fold_{fold}" if fold else "")]
        assert run.endswith("-regions")
        assert [one.replace("-regions", "") for one in both[name].after] == list(other.after)
        assert both[name].settings != other.settings
        if both[name].command[0] != "experiments.out_of_distribution":
            own = [word for word in both[name].command if word not in other.command]
            assert own == ["--model_labels=regions", f"--run_dir=runs/g/{run}"]
    visit = both["out_of_distribution/ct20-at-ct34mc-regions"]
    assert visit.after == ("single_site/ct20-4-regions", "single_site/ct34mc-6-regions", "federated/fewer-regions")
    assert list(jobs(label_kinds=("regions",), folds=2)) == [
        name for name in both if "prepare" in name or name in others
    ]


def test_parts_of_which_nothing_is_left_are_named():
    assert explain_left_out(wanted()) == []
    assert explain_left_out(wanted(sites=("ct34lc", "ct20"))) == []
    assert explain_left_out(wanted(parts=("single_site",), sites=("ct34mc",))) == []
    alone, larger = wanted(sites=("ct34lc",)), wanted(label_sizes=("more",))
    assert [line.partition(" ")[0] for line in explain_left_out(alone)] == ["ablation", "out_of_distribution"]
    assert explain_left_out(larger) == ["ablation is left out: it needs ct20 with 4 labels"]
    for some in (alone, larger):
        assert not any("random_shape" in text for job in paper_jobs(some) for text in job.command)


def test_parts_that_need_others_and_sites_that_the_paper_lacks_are_refused():
    with pytest.raises(InputError, match=r"parts: found out_of_distribution alone"):
        jobs(parts=("out_of_distribution",))
    with pytest.raises(InputError, match=r"sites: found nifti; expected of ct20, ct34lc, ct34mc"):
        jobs(sites=("nifti",))


def test_jobs_of_another_preset_or_phantom_have_other_settings(monkeypatch):
    name = "single_site/ct20-4/fold_0"
    before = jobs()[name].settings
    assert jobs()[name].settings == before == jobs(root=pathlib.Path("elsewhere"))[name].settings
    assert jobs(config=make_config("demo", data={"folds": 5}, gan={"steps": 251}))[name].settings != before
    monkeypatch.setattr(inputs, "VERSION", 99)
    assert jobs()[name].settings != before
    real = make_config("demo", data={"folds": 5, "root": "/data"})
    assert jobs(config=real)[name].settings == jobs(config=real)[name].settings != before
