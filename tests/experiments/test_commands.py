"""Commands: their plans, what they hand to the library, and how they end. One starts a process of its own."""

import errno

import pytest

from fedsim_tf.arms import ABLATION
from fedsim_tf.errors import RunStopped
from tests.experiments.commands import run_command, run_process


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def begun(monkeypatch):
    """Return the starts that runs are given instead of being run."""
    starts = []
    monkeypatch.setattr("fedsim_tf.runs.single_site.run_single_site", starts.append)
    monkeypatch.setattr("fedsim_tf.runs.federated.run_federated", lambda start, **_: starts.append(start))
    return starts


def one_error_line(stderr, *fragments):
    lines = [line for line in stderr.splitlines() if not line[:2].isdigit()]  # without the log
    assert len(lines) == 1, stderr
    assert lines[0].startswith("error: ")
    for fragment in fragments:
        assert fragment in lines[0]


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
def test_stopped_training_is_one_line_with_a_status_of_its_own(raised, status, text, monkeypatch):
    monkeypatch.setattr("fedsim_tf.runs.single_site.run_single_site", lambda _: raise_(raised))
    found = run_command("single_site")
    assert (found.status, found.stderr.strip()) == (status, text)


@pytest.mark.parametrize("bug", [RuntimeError("a bug"), OSError(errno.EISDIR, "a bug")])
def test_other_errors_are_not_hidden(bug, monkeypatch):
    monkeypatch.setattr("fedsim_tf.runs.single_site.run_single_site", lambda _: raise_(bug))
    with pytest.raises(type(bug), match="a bug"):
        run_command("single_site")


def raise_(error):
    raise error


def test_dry_run_of_the_federated_command_plans_all_sites_and_writes_nothing(tmp_path):
    found = run_command("federated", "--dry_run", f"--cache_dir={tmp_path / 'cache'}")
    assert found.status == 0
    for site in ("ct20", "ct34lc", "ct34mc"):
        assert f"phantom cohort ({site})" in found.stdout
    assert "runs/federated-ct20-ct34lc-ct34mc-demo" in found.stdout
    assert list(tmp_path.iterdir()) == []


def test_federated_command_uses_the_papers_batch_of_three(begun):
    assert run_command("federated").status == 0
    assert run_command("federated", "--segmentation_batch=2").status == 0
    assert [start.config.segmentation.batch for start in begun] == [3, 2]


def test_federated_command_compares_the_lower_rows_of_table_3_or_one_of_them(begun):
    assert run_command("federated").status == 0
    assert run_command("federated", "--method=direct_fl", "--federated_sites=ct20,ct34lc").status == 0
    assert [(start.config.segmentation.arms, str(start.run_dir)) for start in begun] == [
        (("lower_bound", "direct_fl", "ours_sim_fl", "upper_bound"), "runs/federated-ct20-ct34lc-ct34mc-demo"),
        (("direct_fl",), "runs/federated-ct20-ct34lc-direct_fl-demo"),
    ]


def test_method_is_one_arm_with_a_run_folder_of_its_own(begun):
    assert run_command("single_site", "--method=ours_fix_mat").status == 0
    (start,) = begun
    assert start.config.segmentation.arms == ("ours_fix_mat",)
    assert str(start.run_dir) == "runs/single_site-ct34lc-ours_fix_mat-demo"


def test_one_fold_alone_is_planned_and_run(begun):
    found = run_command("single_site", "--data_folds=5", "--only_fold=3")
    assert found.status == 0
    assert "5 of 5 folds, now fold 3 alone" in found.stdout
    assert "runs/single_site-ct34lc-demo/fold_3/scores.json; the same command without --only_fold" in found.stdout
    assert run_command("single_site").status == 0
    assert [list(start.folds) for start in begun] == [[3], [0]]


def test_ablation_compares_the_rows_of_table_2_at_ct20(tmp_path):
    found = run_command("ablation", "--dry_run", f"--cache_dir={tmp_path / 'cache'}")
    assert found.status == 0
    assert f"arms: {', '.join(ABLATION)}" in found.stdout
    assert "phantom cohort (ct20)" in found.stdout
    assert "labelled training volumes: ct20 4" in found.stdout


def test_run_folder_names_data_and_preset_unless_given(begun):
    assert run_command("single_site", "--dataset=ct20", "--preset=small").status == 0
    assert run_command("single_site", "--run_dir=elsewhere").status == 0
    assert [str(start.run_dir) for start in begun] == ["runs/single_site-ct20-small", "elsewhere"]


def test_the_papers_tables_say_what_will_run_and_write_nothing(tmp_path):
    found = run_command("paper_tables", "--dry_run", "--data_folds=2", "--model_precision=float32")
    assert found.status == 0, found.stderr
    assert "33 jobs, 0 done" in found.stdout
    assert "estimated time for the rest" in found.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_flag_with_its_text(flag):
    found = run_command("single_site", flag)
    assert found.status == 0
    words = " ".join(found.stdout.split())
    for text in ("--gan_steps:", "--[no]gan_flip:", "--run_dir:", "--only_fold:", "--[no]dry_run:"):
        assert text in words
    assert "Learn to simulate one site's CTs" in words
    assert "--federated_sites" not in words
    assert "Traceback" not in found.stdout + found.stderr


def test_dry_run_prints_the_plan_and_writes_nothing(tmp_path):
    found = run_command("single_site", "--dry_run", "--dataset=ct20", "--run_dir=mine", "--cache_dir=cache")
    assert (found.status, found.stderr) == (0, "")
    for wanted in ("phantom cohort (ct20)", "preset demo", "run folder: mine", "estimated time on two cores"):
        assert wanted in found.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["single_site", "--no_such_flag=1"], ["no_such_flag", "--help"]),
        (["single_site", "--gan_batch=many"], ["gan_batch", "many"]),
        (["single_site", "--dataset=ct99"], ["dataset", "ct99", "ct34lc"]),
        (["single_site", "--preset=huge"], ["preset", "huge", "demo"]),
        (["single_site", "--method=ours_best"], ["method", "ours_best", "ours_fix_mat"]),
        (["single_site", "--gan_steps=1e3"], ["gan_steps", "1e3"]),
        (["single_site", "stray"], ["stray", "flags that start with --"]),
        (["single_site", "--dry_run", "stray"], ["stray"]),
        (["prepare", "--gan_steps=5"], ["gan_steps"]),  # which it does not read
        (["paper_tables", "--data_labels=3"], ["data_labels"]),  # which the plan sets
        (["slices", "--labels=there"], ["images"]),
        (["segment"], ["error: --fold_dir must be given; --image must be given; --output must be given (--help"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_flag_that_cannot_be_read_is_one_line(arguments, fragments, tmp_path):
    found = run_command(*arguments)
    assert found.status == 2
    one_error_line(found.stderr, *fragments)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_one_line_on_a_machine_whose_caches_are_still_empty(tmp_path, tmp_path_factory):
    """Libraries that fill a cache on their first start must not speak up between."""
    caches = str(tmp_path_factory.mktemp("caches"))
    arguments = ("--fold_dir=no", "--image=ct.nii.gz", "--output=heart.nii.gz")
    found = run_process("segment", *arguments, MPLCONFIGDIR=caches)
    assert found.status == 2
    one_error_line(found.stderr, "no config.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("noise", "warned"), [((), True), (("--federated_clip_norm=1", "--federated_noise_multiplier=2"), False)]
)
def test_a_run_on_flare_says_that_nothing_protects_gradients(noise, warned):
    found = run_command("federated", "--engine=nvflare", "--dry_run", "--cache_dir=cache", *noise)
    assert found.status == 0
    lines = [
        line
        for line in found.stdout.splitlines()
        if line.startswith("--federated_noise_multiplier is 0: without noise")
    ]
    assert len(lines) == warned
    assert "the server can read" not in run_command("federated", "--dry_run", "--cache_dir=cache").stdout
