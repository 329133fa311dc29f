"""Flags made from the configuration: every field has one where it is read, and it reaches that field alone."""

import dataclasses
import pathlib
import re

import pytest
from absl import flags

from fedsim_tf.config import PAPER_LABELS, PRESETS, SECTIONS, Config, make_config
from fedsim_tf.errors import InputError
from fedsim_tf.schedule.paper_runs import PaperRuns, paper_jobs
from tests.experiments.commands import command_flags, run_command

# Commands that read the configuration, and fields that they do not read, written down independently of the library.
UNREAD = {
    "single_site": ("federated",),
    "ablation": ("federated",),
    "federated": ("dataset", "plus"),
    "paper_tables": (
        *("dataset", "data.labels", "model.labels"),
        *("segmentation.arms", "segmentation.batch", "federated.more_labels"),
    ),
}
NEEDED = {"federated.noise_multiplier": {"federated": {"clip_norm": 1.0}}}


def fields():
    """Return (path, field) of every field, listed independently of the flags' own loop."""
    found = []
    for field in dataclasses.fields(Config):
        if field.name == "preset":
            continue
        if field.name not in SECTIONS:
            found.append((field.name, field))
            continue
        for inner in dataclasses.fields(getattr(Config(), field.name)):
            found.append((f"{field.name}.{inner.name}", inner))
    return found


FIELDS = dict(fields())


def flag_of(path):
    return path.replace(".", "_")


def value_at(config, path):
    for name in path.split("."):
        config = getattr(config, name)
    return config


def home_of(path):
    """Return the command to try a field with."""
    return "federated" if path.startswith("federated") else "single_site"


def another_value(path):
    """Return a value that differs from the default, as text and as the configuration has it."""
    field = FIELDS[path]
    words = {"data.label_values": "heart:51", "data.crop_mm": "auto"}
    if path in words:
        return words[path], words[path]
    choices, high = field.metadata.get("choices"), field.metadata.get("high")
    if isinstance(field.default, bool):
        return str(not field.default).lower(), not field.default
    if isinstance(field.default, tuple):
        one = choices[0] if choices else "somewhere"
        return one, (one,)
    if choices:
        value = next(choice for choice in choices if choice != value_at(make_config("paper"), path))
        return str(value), value
    if isinstance(field.default, int | float):
        raised = field.default + 1 if high is None else high if field.default < high else high - 1
        value = type(field.default)(raised)
        return str(value), value
    return "something", "something"


@pytest.mark.parametrize("name", UNREAD)
def test_a_command_has_a_flag_for_each_field_that_it_reads(name):
    with command_flags(name):
        for path, field in FIELDS.items():
            is_read = path not in UNREAD[name] and path.partition(".")[0] not in UNREAD[name]
            assert (flag_of(path) in flags.FLAGS) == is_read, path
            if is_read:
                flag = flags.FLAGS[flag_of(path)]
                assert flag.help.endswith(field.metadata["help"])
                assert (tuple(flag.default) if isinstance(flag.default, list) else flag.default) == field.default


def test_small_commands_have_few_flags():
    with command_flags("prepare"):
        assert {flag_of(path) for path in FIELDS if flag_of(path) in flags.FLAGS} == {
            "dataset",
            "model_size",
            *(f"data_{name}" for name in ("root", "division", "label_values", "phantom_shapes", "phantom_version")),
            *(f"data_{name}" for name in ("field_of_view_mm", "field_of_view_z_mm", "window_low_hu", "window_high_hu")),
            "data_crop_mm",
        }
    with command_flags("slices", "--images=a", "--labels=b"):
        assert "gan_steps" in flags.FLAGS
        assert "segmentation_rate" not in flags.FLAGS


@pytest.mark.parametrize("path", FIELDS)
def test_a_flag_reaches_its_field_and_no_other(path):
    text, expected = another_value(path)
    needed = NEEDED.get(path, {})
    with command_flags(home_of(path), "--preset=paper", f"--{flag_of(path)}={text}") as command:
        config, usual = command.config_from_flags(**needed), make_config("paper", **needed)
    assert value_at(config, path) == expected
    assert type(value_at(config, path)) is type(FIELDS[path].default)
    assert [other for other in FIELDS if value_at(config, other) != value_at(usual, other)] == [path]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_alone_are_the_configurations_of_that_name(preset):
    with command_flags("single_site", f"--preset={preset}") as command:
        assert command.config_from_flags() == make_config(preset)


def test_preset_is_demo_for_phantoms_and_asked_for_with_real_data():
    with command_flags("single_site") as command:
        assert command.config_from_flags() == make_config("demo")
        with pytest.raises(InputError, match="preset is not given; it must be given with real data"):
            command.config_from_flags(real_data=True)
    with command_flags("single_site", "--data_root=/somewhere") as command:
        with pytest.raises(InputError, match="preset is not given") as refused:
            command.config_from_flags()
        assert set(PRESETS) <= set(re.findall(r"\w+", str(refused.value)))
    with command_flags("single_site", "--data_root=/somewhere", "--preset=small") as command:
        assert command.config_from_flags() == make_config("small", data={"root": "/somewhere"})


def test_preparation_does_not_ask_for_a_preset():
    """It takes minutes whatever the preset, and then says which size it has prepared."""
    real = ("--dataset=nifti", "--data_root=data", "--dry_run", "--cache_dir=cache")
    assert "data_root is data" in run_command("prepare", *real).stderr


def test_a_flag_with_the_paper_value_overrides_another_preset():
    """Given on the command line it counts, though it is the flag's own default."""
    steps = Config().gan.steps
    assert make_config("demo").gan.steps != steps
    with command_flags("single_site", f"--gan_steps={steps}") as command:
        assert command.config_from_flags().gan.steps == steps


def test_flags_override_a_commands_own_defaults_and_those_override_the_preset():
    with command_flags("single_site", "--preset=paper", "--segmentation_rate=0.5") as command:
        config = command.config_from_flags(segmentation={"batch": 3, "rate": 0.25})
        assert (config.segmentation.batch, config.segmentation.rate) == (3, 0.5)
    with command_flags("single_site", "--segmentation_batch=2") as command:
        assert command.config_from_flags(segmentation={"batch": 3}).segmentation.batch == 2


def test_lists_are_separated_by_commas():
    with command_flags("single_site", "--segmentation_arms=ours_full,lower_bound") as command:
        assert command.config_from_flags().segmentation.arms == ("ours_full", "lower_bound")


def test_flags_given_are_written_as_they_are_read():
    given = ("--gan_flip=false", "--semi_rate=0.5", "--federated_sites=ct20,ct34lc", "--preset=small", "--cache_dir=/c")
    with command_flags("federated", *given) as command:
        config, text = command.config_from_flags(), command.flags_given()
    assert set(text) == {"gan_flip", "semi_rate", "federated_sites", "preset", "cache_dir"}
    with command_flags("federated", *(f"--{name}={value}" for name, value in text.items())) as command:
        assert command.config_from_flags() == config


@pytest.mark.parametrize("site", ["ct20", "ct34mc"])
def test_jobs_of_the_papers_tables_are_commands_that_mean_what_the_plan_says(site):
    """Each command has the flags that its caller asked for as far as it reads them, and no other."""
    with command_flags("paper_tables", "--gan_steps=77", "--preset=demo") as command:
        config, given = command.config_from_flags(data={"folds": 2}), {**command.flags_given(), "data_folds": 2}
    wanted = PaperRuns(config, tuple(f"--{name}={value}" for name, value in given.items()), pathlib.Path("g"), (site,))
    jobs = {job.name: job for job in paper_jobs(wanted)}
    for job in jobs.values():
        module, *arguments = job.command
        with command_flags(module.removeprefix("experiments."), *arguments):
            pass  # every flag is known
    for labels in PAPER_LABELS[site]:
        module, *arguments = jobs[f"single_site/{site}-{labels}/fold_1"].command
        assert module == "experiments.single_site"
        with command_flags("single_site", *arguments) as command:
            planned, only_fold = command.config_from_flags(), flags.FLAGS.only_fold
        assert (planned.dataset, planned.data.labels, planned.data.folds) == (site, labels, 2)
        assert (planned.gan.steps, planned.preset, only_fold) == (77, "demo", 1)


@pytest.mark.parametrize(
    ("text", "subject", "expected"),
    [
        ("gan.steps is -1; it must be at least 1", "gan.steps", "--gan_steps is -1; it must be at least 1"),
        ("run_dir is x; it must be new", "run_dir", "--run_dir is x; it must be new"),
        ("a.npz: found 3 modes; expected at least 4 (model.shape_modes)", "a.npz", None),
        ("/data/gan.steps/x.nii: found no file", "/data/gan.steps/x.nii", "/data/gan.steps/x.nii: found no file"),
        ("federated.sites is x", "federated.sites", "federated.sites is x"),  # no flag of this command
        ("found a run with seed=7 (now 0)", "", "found a run with --seed=7 (now 0)"),
    ],
)
def test_the_command_layer_alone_names_flags(text, subject, expected):
    expected = expected or text.replace("model.shape_modes", "--model_shape_modes")
    with command_flags("single_site") as command:
        assert command.name_flags(text, subject) == expected


def test_a_tilde_is_the_users_home_wherever_a_path_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    found = run_command("single_site", "--dry_run", "--run_dir=~/runs/x", "--cache_dir=~/cache")
    assert found.status == 0, found.stderr
    assert f"run folder: {tmp_path}/runs/x" in found.stdout
    found = run_command("single_site", "--dry_run", "--data_root=~/none", "--preset=demo")
    assert f"--data_root is {tmp_path}/none" in found.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_user_without_a_home_is_asked_for_a_cache_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pathlib.Path, "home", no_home)
    monkeypatch.setattr(pathlib.Path, "expanduser", no_home)
    found = run_command("single_site", "--dry_run")
    assert (found.status, found.stderr.count("\n")) == (2, 1)
    assert "--cache_dir is not given; it must be a folder" in found.stderr
    assert run_command("single_site", "--dry_run", "--cache_dir=c").status == 0
    assert "--run_dir is ~/x" in run_command("single_site", "--dry_run", "--cache_dir=c", "--run_dir=~/x").stderr


def no_home(*_):
    raise RuntimeError("Could not determine home directory.")
