"""Commands: flags from the configuration, plans, and errors of one line. One starts a process of its own."""

import dataclasses
import errno
import importlib
import pathlib
import sys

import numpy as np
import pytest
from absl import flags
from PIL import Image

from experiments import flags as command
from experiments import single_site
from fedsim_tf.config import PAPER_LABELS, PRESETS, SECTIONS, Config, make_config
from fedsim_tf.errors import RunStopped
from fedsim_tf.schedule.paper_runs import PaperRuns, paper_jobs
from tests.experiments.commands import run_command, run_process

FLAGS = flags.FLAGS
with pytest.MonkeyPatch.context() as _patch:
    for _name in ("define_common", "define_method", "define_only_fold"):
        _patch.setattr(command, _name, lambda: None)  # a process has these flags once
    federated, ablation = (importlib.import_module(f"experiments.{name}") for name in ("federated", "ablation"))


@pytest.fixture(autouse=True)
def _unparsed(monkeypatch, tmp_path):
    """Flags as at the start of a process before and after each test, and a folder without any run."""
    monkeypatch.chdir(tmp_path)
    forget()
    yield
    forget()


def forget():
    FLAGS.unparse_flags()
    for flag in FLAGS.flags_by_module_dict()["experiments.flags"]:
        flag.unparse()


def parsed(*arguments):
    forget()
    command._parse(["command", *arguments])


def outcome(run, *arguments):
    """Exit status of a command within this process."""
    forget()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["command", *arguments])
        command.main(run)
    return stopped.value.code or 0


def one_error_line(stderr, *fragments):
    assert len(stderr.splitlines()) == 1, stderr
    assert stderr.startswith("error: ")
    for fragment in fragments:
        assert fragment in stderr


def fields():
    """(flag, path, field) of every field, written down independently of the flags' own loop."""
    found = []
    for field in dataclasses.fields(Config):
        if field.name == "preset":
            continue
        if field.name not in SECTIONS:
            found.append((field.name, (field.name,), field))
            continue
        for inner in dataclasses.fields(getattr(Config(), field.name)):
            found.append((f"{field.name}_{inner.name}", (field.name, inner.name), inner))
    return found


def value_at(config, path):
    for name in path:
        config = getattr(config, name)
    return config


@pytest.mark.parametrize(("name", "path", "field"), fields(), ids=[name for name, *_ in fields()])
def test_every_field_has_a_flag_with_its_help_and_default(name, path, field):
    flag = FLAGS[name]
    assert len(field.metadata["help"]) > 5
    assert flag.help.endswith(field.metadata["help"])
    default = flag.default
    assert (tuple(default) if isinstance(default, list) else default) == field.default


@pytest.mark.parametrize(("name", "path", "field"), fields(), ids=[name for name, *_ in fields()])
def test_every_flag_reaches_its_field_and_no_other(name, path, field):
    choices = field.metadata.get("choices")
    if isinstance(field.default, bool):
        text, expected = str(not field.default).lower(), not field.default
    elif isinstance(field.default, tuple):
        text = choices[0] if choices else "somewhere"
        expected = (text,)
    elif choices:
        expected = next(choice for choice in choices if choice != value_at(make_config("paper"), path))
        text = str(expected)
    elif isinstance(field.default, (int, float)):
        high = field.metadata.get("high")
        expected = type(field.default)(
            field.default + 1 if high is None else high if field.default < high else high - 1
        )
        text = str(expected)
    else:
        text = expected = "something"
    needed = {"federated": {"clip_norm": 1.0}} if name == "federated_noise_multiplier" else {}
    parsed("--preset=paper", f"--{name}={text}")
    config, usual = command.config_from_flags(**needed), make_config("paper", **needed)
    assert value_at(config, path) == expected
    assert type(value_at(config, path)) is type(field.default)
    different = [other for other, at, _ in fields() if value_at(config, at) != value_at(usual, at)]
    assert different == [name]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_alone_are_the_configurations_of_that_name(preset):
    parsed(f"--preset={preset}")
    assert command.config_from_flags() == make_config(preset)


def test_preset_is_demo_for_phantoms_and_paper_for_real_data():
    parsed()
    assert command.config_from_flags() == make_config("demo")
    parsed("--data_root=/somewhere")
    assert command.config_from_flags() == make_config("paper", data={"root": "/somewhere"})


def test_a_flag_with_the_paper_value_overrides_another_preset():
    """Given on the command line it counts, though it is the flag's own default."""
    steps = Config().gan.steps
    assert make_config("demo").gan.steps != steps
    parsed(f"--gan_steps={steps}")
    assert command.config_from_flags().gan.steps == steps


def test_flags_override_a_commands_own_defaults_and_those_override_the_preset():
    parsed("--preset=paper", "--segmentation_rate=0.5")
    config = command.config_from_flags(segmentation={"batch": 3, "rate": 0.25})
    assert (config.segmentation.batch, config.segmentation.rate) == (3, 0.5)
    parsed("--segmentation_batch=2")
    assert command.config_from_flags(segmentation={"batch": 3}).segmentation.batch == 2


def test_lists_are_separated_by_commas():
    parsed("--segmentation_arms=ours_full,lower_bound")
    assert command.config_from_flags().segmentation.arms == ("ours_full", "lower_bound")


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--no_such_flag=1"], ["no_such_flag", "--help"]),
        (["--gan_batch=0"], ["batch: found 0; expected at least 1"]),
        (["--gan_batch=many"], ["gan_batch", "many"]),
        (["--dataset=ct99"], ["dataset", "ct99", "ct34lc"]),
        (["--preset=huge"], ["preset", "huge", "demo"]),
        (["--model_size=33"], ["size: found 33", "32, 64, 128"]),
        (["--data_folds=6"], ["folds: found 6; expected at most 5"]),
        (["--segmentation_arms=ours_best"], ["arms", "ours_best", "upper_bound"]),
        (["--segmentation_arms="], ["arms"]),
        (["--method=ours_best"], ["method", "ours_best", "ours_fix_mat"]),
        (["--method=direct_fl"], ["--segmentation_arms: found direct_fl", "single site"]),
        (["--method=ours_pre", "--segmentation_arms=ours_pre"], ["--method", "--segmentation_arms"]),
        (["--only_fold=3"], ["--only_fold: found 3; expected 0 to 0"]),
        (["--seed=9999999999"], ["seed: found 9999999999; expected at most"]),
        (["--data_window_low_hu=2000"], ["window_low_hu", "2000"]),
        (["stray"], ["stray", "flags that start with --"]),
        (["--dry_run", "stray"], ["stray"]),
        (["--data_root=/no/such/folder", "--model_vgg_weights=random"], ["/no/such/folder"]),
        (["--dataset=nifti", "--model_vgg_weights=random"], ["--data_root", "nifti"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_line_and_exit_status_two(arguments, fragments, capfd):
    assert outcome(single_site.run, *arguments) == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if not line[:2].isdigit()]  # without the log
    one_error_line("\n".join(errors), *fragments)


@pytest.mark.parametrize(
    ("raised", "status", "text"),
    [
        (FloatingPointError("gan, step 7: loss vgg is nan"), 1, "error: gan, step 7: loss vgg is nan"),
        (RunStopped("gan, step 7: cannot write"), 1, "error: gan, step 7: cannot write"),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            1,
            "error: [Errno 28] No space left on device: 'a.png'; the same command again resumes",
        ),
        (KeyboardInterrupt(), 130, "error: stopped; the same command again resumes"),
    ],
)
def test_stopped_training_is_one_line_with_a_status_of_its_own(raised, status, text, capfd):
    def run():
        raise raised

    assert outcome(run) == status
    assert capfd.readouterr().err.strip() == text


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), OSError(errno.EISDIR, "a bug")])
def test_other_errors_are_not_hidden(bug):
    def run():
        raise bug

    with pytest.raises(type(bug), match="a bug"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["command"])
        command.main(run)


def test_dry_run_of_the_federated_command_plans_all_sites_and_writes_nothing(capfd, tmp_path):
    assert outcome(federated.run, "--dry_run", f"--cache_dir={tmp_path / 'cache'}") == 0
    printed = capfd.readouterr().out
    for site in ("ct20", "ct34lc", "ct34mc"):
        assert f"phantom cohort ({site})" in printed
    assert "runs/federated-ct20-ct34lc-ct34mc-demo" in printed
    assert list(tmp_path.iterdir()) == []


def test_federated_command_uses_the_papers_batch_of_three(monkeypatch):
    used = []
    monkeypatch.setattr("fedsim_tf.runs.federated.run_federated", lambda config, *_, **__: used.append(config))
    assert outcome(federated.run) == 0
    assert outcome(federated.run, "--segmentation_batch=2") == 0
    assert [config.segmentation.batch for config in used] == [3, 2]


def test_method_is_one_arm_with_a_run_folder_of_its_own(monkeypatch):
    used = []
    monkeypatch.setattr(
        "fedsim_tf.runs.single_site.run_single_site",
        lambda config, run_dir, **_: used.append((config.segmentation.arms, str(run_dir))),
    )
    assert outcome(single_site.run, "--method=ours_fix_mat") == 0
    assert used == [(("ours_fix_mat",), "runs/single_site-ct34lc-ours_fix_mat-demo")]


def test_one_fold_alone_is_planned_and_run(monkeypatch, capfd):
    used = []
    monkeypatch.setattr(
        "fedsim_tf.runs.single_site.run_single_site", lambda config, *_, only_fold, **__: used.append(only_fold)
    )
    assert outcome(single_site.run, "--data_folds=5", "--only_fold=3") == 0
    printed = capfd.readouterr().out
    assert "5 of 5 folds, now fold 3 alone" in printed
    assert "runs/single_site-ct34lc-demo/fold_3/scores.json; the same command without --only_fold" in printed
    assert outcome(single_site.run) == 0
    assert used == [3, None]


def test_flags_given_are_written_as_they_are_read():
    parsed("--gan_flip=false", "--semi_rate=0.5", "--federated_sites=ct20,ct34lc", "--preset=small", "--cache_dir=/c")
    config, given = command.config_from_flags(), command.given()
    assert set(given) == {"gan_flip", "semi_rate", "federated_sites", "preset", "cache_dir"}
    parsed(*(f"--{name}={value}" for name, value in given.items()))
    assert command.config_from_flags() == config


@pytest.mark.parametrize("site", ["ct20", "ct34mc"])
def test_jobs_of_the_papers_tables_are_runs_of_the_single_site_command(site):
    """The command that the plan writes down says what the plan means, and what its own caller asked for."""
    parsed("--gan_steps=77", "--preset=demo")
    config = command.config_from_flags(data={"folds": 2})
    given = {**command.given(), "data_folds": 2}
    wanted = PaperRuns(config, tuple(f"--{name}={value}" for name, value in given.items()), pathlib.Path("g"), (site,))
    jobs = {job.name: job for job in paper_jobs(wanted)}
    for labels in PAPER_LABELS[site]:
        module, *arguments = jobs[f"single_site/{site}-{labels}/fold_1"].command
        assert module == "experiments.single_site"
        parsed(*arguments)
        planned = command.config_from_flags()
        assert (planned.dataset, planned.data.labels, planned.data.folds) == (site, labels, 2)
        assert (planned.gan.steps, planned.preset, FLAGS.only_fold) == (77, "demo", 1)


def test_the_papers_tables_say_what_will_run_and_write_nothing(tmp_path):
    found = run_command("paper_tables", "--dry_run", "--data_folds=2")
    assert found.status == 0, found.stderr
    assert "33 jobs, 0 done" in found.stdout
    assert "estimated time for the rest" in found.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--sites=ct99"], ["--sites: found ct99", "ct20, ct34lc, ct34mc"]),
        (["--parts=ablation"], ["parts: found ablation alone"]),
        (["--data_labels=3"], ["--data_labels", "the plan sets it"]),
        (["--launcher=slurm"], ["--model_precision: found auto", "another kind than those that compute"]),
        (["--cluster=slurm_partition=gpu"], ["--cluster: found given", "--launcher=slurm"]),
        (["--dry_run", "--data_root=/no/such"], ["--data_root: found no /no/such"]),
        (["--tables_only", "--data_root=/no/such"], ["--schedule_dir: found no schedule in runs/paper_tables-paper"]),
        (["--tables_only", "--schedule_dir=tpyo"], ["--schedule_dir: found no schedule in tpyo"]),
        (
            ["--launcher=slurm", "--cluster=fast", "--model_precision=float32"],
            ["--cluster: found fast; expected name=value"],
        ),
    ],
)
def test_wrong_input_of_the_papers_tables_is_one_line(arguments, fragments, tmp_path):
    found = run_command("paper_tables", *arguments)
    assert found.status == 2
    one_error_line(found.stderr, *fragments)
    assert list(tmp_path.iterdir()) == []


def test_federated_command_compares_the_lower_rows_of_table_3_or_one_of_them(monkeypatch):
    used = []
    monkeypatch.setattr(
        "fedsim_tf.runs.federated.run_federated",
        lambda config, run_dir, **_: used.append((config.segmentation.arms, config.segmentation.batch, str(run_dir))),
    )
    assert outcome(federated.run) == 0
    assert outcome(federated.run, "--method=direct_fl", "--federated_sites=ct20,ct34lc") == 0
    assert used == [
        (("lower_bound", "direct_fl", "ours_sim_fl", "upper_bound"), 3, "runs/federated-ct20-ct34lc-ct34mc-demo"),
        (("direct_fl",), 3, "runs/federated-ct20-ct34lc-direct_fl-demo"),
    ]


def test_ablation_compares_the_rows_of_table_2_at_ct20(capfd, tmp_path):
    assert outcome(ablation.run, "--dry_run", f"--cache_dir={tmp_path / 'cache'}") == 0
    printed = capfd.readouterr().out
    assert "arms: random_shape, alpha_blend, poisson_blend, fix_mat_alone" in printed
    assert "phantom cohort (ct20)" in printed
    assert "labelled training volumes: ct20 4" in printed


def test_run_folder_names_data_and_preset_unless_given(monkeypatch):
    used = []
    monkeypatch.setattr(
        "fedsim_tf.runs.single_site.run_single_site", lambda config, run_dir, **_: used.append(str(run_dir))
    )
    assert outcome(single_site.run, "--dataset=ct20", "--preset=small") == 0
    assert outcome(single_site.run, "--run_dir=elsewhere") == 0
    assert used == ["runs/single_site-ct20-small", "elsewhere"]


def test_help_lists_every_flag_with_its_text(tmp_path):
    found = run_command("single_site", "--help")
    assert found.status == 0
    words = " ".join(found.stdout.split())
    for name, _, field in fields():
        assert f"--{name}:" in words or f"--[no]{name}:" in words, name
        assert " ".join(field.metadata["help"].split())[:25] in words, name
    assert "Learns to simulate one site's CTs" in words
    assert "Traceback" not in found.stdout + found.stderr


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    found = run_command("single_site", "--dry_run", "--dataset=ct20", "--run_dir=mine", "--cache_dir=cache")
    assert found.status == 0
    assert found.stderr == ""
    for wanted in ("phantom cohort (ct20)", "preset demo", "run folder: mine", "estimated time on two cores"):
        assert wanted in found.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--method=ours_sim_fl"], ["--segmentation_arms: found ours_sim_fl", "arms of a single site"]),
        (["--dataset=nifti"], ["found no folder, and no phantom cohort 'nifti'"]),
        (["--dataset=ct20", "--data_labels=13"], ["--data_labels: found 13; expected at most 12", "20 phantoms"]),
        (["--data_labels=1"], ["--data_labels: found 1; expected at least 2"]),
        (["--data_phantom_version=99"], ["phantom_version: found 99"]),
        (["--model_shape_model=no.npz"], ["--model_shape_model: found no no.npz"]),
        (["--model_vgg_weights=no.npz"], ["--model_vgg_weights: found no no.npz"]),
        (["--data_root=/no/such"], ["--data_root: found no /no/such"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_dry_run_refuses_what_the_run_would(arguments, fragments, capfd, tmp_path):
    assert outcome(single_site.run, "--dry_run", f"--cache_dir={tmp_path / 'cache'}", *arguments) == 2
    one_error_line(capfd.readouterr().err, *fragments)
    assert list(tmp_path.iterdir()) == []


def test_federated_command_has_no_arms_of_a_single_site(capfd):
    assert outcome(federated.run, "--method=random_shape") == 2
    assert "--method: found random_shape, of a single site" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--images=no", "--labels=no"], ["no: found no PNG files"]),
        (["--images=slices", "--labels=slices"], ["slices: found 1 pictures; expected more than held out (4)"]),
        (["--images=slices", "--labels=slices", "--model_vgg_weights=no.npz"], ["--model_vgg_weights"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_dry_run_on_slices_refuses_what_the_run_would(arguments, fragments, tmp_path):
    (tmp_path / "slices").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "slices" / "one.png")
    found = run_command("slices", "--dry_run", *arguments)
    assert found.status == 2
    one_error_line(found.stderr, *fragments)
    assert [path.name for path in tmp_path.iterdir()] == ["slices"]


def test_a_missing_required_flag_is_one_line(tmp_path):
    found = run_command("slices", "--labels=there")
    assert found.status == 2
    one_error_line(found.stderr, "images")
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line_on_a_machine_whose_caches_are_still_empty(tmp_path, tmp_path_factory):
    """Libraries that fill a cache on their first start must not speak up between."""
    caches = str(tmp_path_factory.mktemp("caches"))
    found = run_process(
        "segment",
        "--fold_dir=no",
        "--image=ct.nii.gz",
        "--output=heart.nii.gz",
        MPLCONFIGDIR=caches,
    )
    assert found.status == 2
    one_error_line(found.stderr, "no config.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--labels=nowhere", "--out=model.npz"], "nowhere: found no such folder"),
        (["--shapes=phantom", "--modes=40", "--out=model.npz"], "modes: found 40 with 40 subjects; expected 1 to 39"),
        (["--out=model.npz"], "--labels and --shapes: found both or none; expected one of them"),
        (["--shapes=phantom", "--out=model.vtk"], "--out: found model.vtk; expected a file that ends in .npz"),
        (["--labels=.", "--regions=1,x", "--out=model.npz"], "--regions: found 1,x; expected whole numbers"),
        (["--shapes=model.npz", "--out=./model.npz"], "--out: found the file of --shapes; expected a new file"),
        (["--shapes=phantom", "--fold=0", "--out=model.npz"], "--fold: found --shapes beside it; expected --labels"),
    ],
)
def test_wrong_input_of_build_ssm_is_one_line(arguments, expected, tmp_path):
    found = run_command("build_ssm", *arguments)
    assert found.status == 2
    one_error_line(found.stderr, expected)
    assert not list(tmp_path.iterdir())
