"""What a member's kit is given."""

import dataclasses
import stat

import pytest
from nvflare.lighter.constants import ProvFileName

from fedsim_tf.errors import InputError
from fedsim_tf.federated.flare.jobs import WATCH_FILE, write_local_files
from fedsim_tf.federated.flare.kits import KEY_FILE
from fedsim_tf.files import read_json, write_json
from fedsim_tf.runs import on_flare
from fedsim_tf.runs.flare_fold import FoldExecutor
from fedsim_tf.runs.flare_member import LOCAL_FILE, Local, change_local, strip_local_fields
from fedsim_tf.runs.job_limits import LIMITS_FILE, JobLimits, read_limits, write_limits
from fedsim_tf.runs.member_start import MemberStart, open_member
from fedsim_tf.runs.on_flare import set_up_member
from fedsim_tf.runs.same_data import shape_model_digest
from tests.federated.flare.toy_job import COMPONENTS
from tests.runs.toy_cohorts import write_own_cohort
from tests.training.toy_site import toy_config


@pytest.fixture
def local(tmp_path):
    scheduler = {"id": "job_scheduler", "args": {"max_jobs": 4}}
    write_json(tmp_path / "resources.json.default", {"components": [scheduler, {"id": "log_receiver"}]})
    return tmp_path


def write(folder, **settings):
    write_local_files(folder, LOCAL_FILE, Local("/runs", "/cache", **settings).to_dict(), classes=COMPONENTS)


def test_only_this_projects_components_run_one_job_at_a_time_and_no_log_leaves(local):
    write(local)
    found = read_json(local / "resources.json")
    assert [(one["id"], one["args"]["max_jobs"]) for one in found["components"]] == [("job_scheduler", 1)]
    assert found["class_list_enforcement_mode"] == "enforce"
    assert found["allow_log_streaming"] is False
    allowed = {name.rpartition(".")[2] for name in found["class_allow_list"]}
    assert allowed == {
        "ToyController",
        "ToyExecutor",
        "EncryptedToyController",
        "EncryptedToyExecutor",
        "LeakyExecutor",
        "OutgoingFilter",
    }


def test_what_a_hospital_had_of_its_own_is_kept_beside(local):
    own = {"scopes": [], "default_scope": "ours"}
    write_json(local / "privacy.json", own)
    write(local)
    write(local)
    assert read_json(local / "privacy.json")["default_scope"] == "public"
    assert read_json(local / "privacy.json.before") == own
    assert not (local / "authorization.json.before").exists()


def test_the_file_of_what_only_this_machine_knows_is_its_owners_alone(local):
    write(local, secret="s")
    assert stat.S_IMODE((local / LOCAL_FILE).stat().st_mode) == 0o600


def test_a_sites_process_reports_to_the_servers_and_a_simulator_has_neither(tmp_path):
    write(tmp_path / "simulator" / "local")
    assert not (tmp_path / "simulator" / "local" / WATCH_FILE).exists()
    for name, part in (("fed_client.json", "KitReport"), ("fed_server.json", "KitWatch")):
        write_json(tmp_path / name / "startup" / name, {})
        write(tmp_path / name / "local")
        (component,) = read_json(tmp_path / name / "local" / WATCH_FILE)["components"]
        assert component["path"] == f"fedsim_tf.federated.flare.kit_watch.{part}"


def test_a_secret_is_made_once(local):
    first = change_local(local, {}).secret
    assert len(first) == 32
    assert change_local(local, {}).secret != first
    write(local, secret=first)
    assert change_local(local, {}).secret == first
    assert Local.read(local).secret == first


def test_files_that_are_not_there_are_said_before_a_job_needs_them(tmp_path):
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_client.json").touch()
    for name in ("model_shape_model", "model_vgg_weights", "data_division"):
        local = change_local(tmp_path / "local", {name: "/nonexistent"}, runs_dir="/runs", cache_dir="/cache")
        with pytest.raises(InputError, match=f"{name.replace('_', '.', 1)} is /nonexistent; it must be a file"):
            open_member(tmp_path, local)
    assert not (tmp_path / "local").exists()


def test_a_site_that_cannot_learn_is_refused_before_it_joins(tmp_path):
    (tmp_path / "startup").mkdir()
    (tmp_path / "startup" / "fed_client.json").touch()
    write_own_cohort(tmp_path / "scans", annotated=2, unannotated=4)
    member = {"data_root": str(tmp_path / "scans")}
    given = {"cache_dir": str(tmp_path / "cache"), "dataset": "nifti"}
    few = change_local(tmp_path / "local", member, runs_dir=str(tmp_path / "runs"), **given)
    with pytest.raises(InputError, match="cohort nifti: found 2 annotated cases; expected at least 3"):
        open_member(tmp_path, few)
    nowhere = change_local(tmp_path / "local", member, runs_dir=str(tmp_path / "startup" / "fed_client.json"), **given)
    with pytest.raises(InputError, match=r"^runs_dir is \S*; it must be a folder"):
        open_member(tmp_path, nowhere)
    assert not (tmp_path / "local").exists()


def test_what_is_not_said_again_stays_as_it_was(local):
    """Who moves a hospital's data does not thereby grant less privacy."""
    given = {"runs_dir": "/runs", "cache_dir": "/cache", "dataset": "nifti", "least_noise": 1.5, "most_epsilon": 8.0}
    first = change_local(local, {"data_root": "/scans", "model_vgg_weights": "random"}, **given)
    write_json(local / LOCAL_FILE, first.to_dict())
    write_limits(local, first.limits)
    again = change_local(
        local, {"data_root": "/moved"}, runs_dir="/runs", dataset=None, least_noise=None, most_epsilon=0.0
    )
    wanted = first.to_dict() | {"data_root": "/moved", "most_epsilon": 0.0}
    assert again.to_dict() == wanted
    assert again.granted_privacy == "moments of 3 latents or more, noise 1.5 or more, any epsilon"


def test_a_file_without_a_secret_is_warned_of(local, caplog):
    values = Local("/runs", "/cache").to_dict()
    write_json(local / LOCAL_FILE, values)
    Local.read(local)
    assert "no secret" not in caplog.text  # a simulator's says that it wants none
    write_json(local / LOCAL_FILE, {name: value for name, value in values.items() if name != "secret"})
    Local.read(local)
    assert "has no secret; experiments.federated_member adds one" in caplog.text


def test_a_job_beyond_the_sites_limits_is_refused_before_data_is_read(tmp_path, local):
    """The data is not there, and nobody notices."""
    fields = {"data_root": "/nonexistent", "model_vgg_weights": "random"}
    given = Local(str(tmp_path / "runs"), str(tmp_path / "cache"), "nifti", least_latents=2, fields=fields)
    write_json(local / LOCAL_FILE, given.to_dict())
    for asked, limit in (({"pretraining": {"batch": 1}}, "least_batch"), ({"model": {"coarse_size": 64}}, "coarse")):
        config = toy_config(data={"labels": 2}, **asked)
        executor = FoldExecutor(strip_local_fields(config), "run", 0, shape_model_digest(config))
        with pytest.raises(InputError, match=rf"^the job's .*{limit}.* in limits\.toml$"):
            executor.open_site("leeds", local)
    (local / LIMITS_FILE).write_text("most_rounds = 7")
    config = toy_config(data={"labels": 2})
    executor = FoldExecutor(strip_local_fields(config), "run", 0, shape_model_digest(config))
    with pytest.raises(
        InputError, match="the job's rounds: found 8 after 0 of other jobs; expected at most 7 together"
    ):
        executor.open_site("leeds", local)
    (local / LIMITS_FILE).write_text("least_batch = 1\nlargest_coarse_size = 64")
    config = toy_config(data={"labels": 2}, pretraining={"batch": 1})
    executor = FoldExecutor(strip_local_fields(config), "run", 0, shape_model_digest(config))
    with pytest.raises(InputError, match=r"below /nonexistent \(no such folder\)"):
        executor.open_site("leeds", local)
    assert not (tmp_path / "runs").exists()


def test_a_site_is_given_a_file_of_limits_and_keeps_the_one_that_it_has(tmp_path):
    for name, is_site in (("fed_client.json", True), ("fed_server.json", False)):
        kit = tmp_path / name
        write_json(kit / "startup" / name, {})
        start = MemberStart(kit, Local("/runs", "/cache"), "")
        set_up_member(start)
        assert (kit / "local" / LIMITS_FILE).exists() == is_site
    limits = tmp_path / "fed_client.json" / "local" / LIMITS_FILE
    own = "# ours\nleast_batch = 3\nleast_noise_multiplier = 1.5 # agreed in May\n"
    limits.write_text(own)
    local = change_local(limits.parent, {}, runs_dir="/elsewhere")
    assert "noise 1.5 or more" in local.granted_privacy
    set_up_member(dataclasses.replace(start, kit=limits.parent.parent, local=local))
    assert limits.read_text() == own
    local = change_local(limits.parent, {}, least_noise=0.5)
    assert "noise 0.5 or more" in local.granted_privacy
    set_up_member(dataclasses.replace(start, kit=limits.parent.parent, local=local))
    assert limits.read_text() == own.replace("1.5", "0.5")


def test_a_site_whose_kit_has_a_key_lets_nothing_leave_that_can_be_read(tmp_path):
    """Until its owner says otherwise in the file of limits, which the command leaves alone from then on."""
    write_json((startup := tmp_path / "leeds" / "startup") / "fed_client.json", {})
    local = tmp_path / "leeds" / "local"
    assert not change_local(local, {}, runs_dir="/runs", cache_dir="/cache").limits.only_encrypted
    (startup / KEY_FILE).write_bytes(b"a key")
    assert KEY_FILE == ProvFileName.CLIENT_CONTEXT_TENSEAL
    given = change_local(local, {}, runs_dir="/runs", cache_dir="/cache")
    assert given.granted_privacy.endswith(", encrypted alone")
    set_up_member(MemberStart(tmp_path / "leeds", given, ""))
    limits = Local.read(local).limits
    limits.check(toy_config(data={"labels": 2}, federated={"sites": ("leeds",), "encrypt": True}), fold=0, labels=2)
    with pytest.raises(InputError, match=r"encrypt: found False; expected True, only_encrypted in limits\.toml"):
        limits.check(toy_config(data={"labels": 2}), fold=0, labels=2)
    text = (local / LIMITS_FILE).read_text()
    (local / LIMITS_FILE).unlink()  # and LOCAL_FILE stays, as that of a version without limits
    assert change_local(local, {}).limits.only_encrypted
    own = text.replace("only_encrypted = true", "only_encrypted = false")
    (local / LIMITS_FILE).write_text(own)
    again = change_local(local, {}, runs_dir="/elsewhere")
    set_up_member(MemberStart(tmp_path / "leeds", again, ""))
    assert not again.limits.only_encrypted
    assert (local / LIMITS_FILE).read_text() == own


def test_a_least_noise_of_before_beside_the_limits_still_holds_and_moves_there(tmp_path):
    kit = tmp_path / "leeds"
    write_json(kit / "startup" / "fed_client.json", {})
    write_json(kit / "local" / LOCAL_FILE, {**Local("/runs", "/cache").to_dict(), "least_noise": 2.0})
    for mine, wanted in (("least_noise_multiplier = 3.0", 3.0), ("least_batch = 3", 2.0)):
        (kit / "local" / LIMITS_FILE).write_text(mine)
        assert Local.read(kit / "local").limits.least_noise_multiplier == wanted
    set_up_member(MemberStart(kit, Local.read(kit / "local"), ""))
    assert "least_noise" not in read_json(kit / "local" / LOCAL_FILE)
    assert read_limits(kit / "local") == JobLimits(least_batch=3, least_noise_multiplier=2.0)


@pytest.mark.parametrize("failing", ["write_limits", "write_local_files"])
def test_a_least_noise_of_before_is_lost_in_no_failure_between_the_two_files(tmp_path, monkeypatch, failing):
    kit = tmp_path / "leeds"
    write_json(kit / "startup" / "fed_client.json", {})
    write_json(kit / "local" / LOCAL_FILE, {**Local("/runs", "/cache").to_dict(), "least_noise": 2.0})
    (kit / "local" / LIMITS_FILE).write_text("least_batch = 3")

    def fail(*args, **kwargs):
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(on_flare, failing, fail)
        with pytest.raises(OSError, match="full"):
            set_up_member(MemberStart(kit, Local.read(kit / "local"), ""))
    assert Local.read(kit / "local").limits.least_noise_multiplier == 2.0
    set_up_member(MemberStart(kit, Local.read(kit / "local"), ""))
    assert read_limits(kit / "local") == JobLimits(least_batch=3, least_noise_multiplier=2.0)


@pytest.mark.parametrize("found", [float("nan"), float("inf"), "2", None])
def test_a_least_noise_of_before_that_is_no_number_is_refused(local, found):
    write_json(local / LOCAL_FILE, {**Local("/runs", "/cache").to_dict(), "least_noise": found})
    with pytest.raises(InputError, match="least_noise: found least_noise_multiplier: input should be"):
        Local.read(local)


@pytest.mark.parametrize("key", ["  {} ", '"{}"', "\t'{}'\t"])
def test_a_least_noise_is_changed_however_toml_lets_its_line_be_written(tmp_path, key):
    key = key.format("least_noise_multiplier")
    (tmp_path / LIMITS_FILE).write_text(f"least_batch = 3\n{key}= 1.5# agreed in May\n")
    write_limits(tmp_path, JobLimits(least_noise_multiplier=2.0))
    assert (tmp_path / LIMITS_FILE).read_text() == f"least_batch = 3\n{key}= 2.0# agreed in May\n"
    assert read_limits(tmp_path) == JobLimits(least_batch=3, least_noise_multiplier=2.0)


def test_a_least_noise_that_cannot_be_changed_in_its_file_is_said(tmp_path):
    text = r'"least_noise\u005fmultiplier" = 1.5'
    (tmp_path / LIMITS_FILE).write_text(text)
    with pytest.raises(InputError, match=r"cannot change; expected the line least_noise_multiplier = 2\.0"):
        write_limits(tmp_path, JobLimits(least_noise_multiplier=2.0))
    assert (tmp_path / LIMITS_FILE).read_text() == text
    with pytest.raises(InputError, match="least_noise: found least_noise_multiplier: input should be a finite number"):
        change_local(tmp_path, {}, least_noise=float("inf"))
