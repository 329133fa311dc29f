"""What a plan says that steps take: as this machine has shown, else by its speed in other steps, else by the table."""

import dataclasses
import types

import pytest

from fedsim_tf.config import make_config
from fedsim_tf.files import write_json
from fedsim_tf.records import step_times
from fedsim_tf.records.step_times import StepTime, keep_step_times, read_step_times
from fedsim_tf.runs.estimate import estimate_cost, note_stage
from fedsim_tf.runs.step_costs import StepCosts, measure_steps
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import WARM_UP, OpenStage

DEMO = make_config("demo", model={"precision": "float32"})
TABLE = StepCosts()


def finished(folder, **stages):
    """A fold's folder with the records of finished stages; two underscores stand for a slash."""
    for name, record in stages.items():
        write_json(folder / "stages" / f"{name.replace('__', '/')}.json", {"steps": 100, **record})
    return folder


def times(seconds, start=0.0):
    return {"step_seconds": seconds, "start_seconds": start}


def test_measured_steps_take_the_place_of_the_table(tmp_path):
    fold = finished(tmp_path, gan=times(0.7, 9.0), segmentation__lower_bound__pretrain=times(0.2, 4.0))
    costs = StepCosts(measure_steps(DEMO, [fold], shared=False))
    assert costs.of(DEMO, "gan")[:2] == (0.7, 9.0)
    assert costs.of(DEMO, "unet", volumes=DEMO.segmentation.batch)[:2] == (0.2, 4.0)


def test_a_plan_has_the_start_of_each_stage_and_its_steps(tmp_path):
    bounds = dataclasses.replace(
        DEMO,
        segmentation=dataclasses.replace(
            DEMO.segmentation, arms=("lower_bound",), pretraining_steps=50, finetuning_steps=50
        ),
    )
    fold = finished(tmp_path, segmentation__lower_bound__pretrain=times(2.0, 30.0))
    plain = estimate_cost(bounds, sites=("ct20",), federated=False, folds=3, costs=StepCosts({}))
    costs = StepCosts(measure_steps(bounds, [fold], shared=False))
    found = estimate_cost(bounds, sites=("ct20",), federated=False, folds=3, costs=costs)
    table = TABLE.of(bounds, "unet").seconds
    assert found.seconds - plain.seconds == pytest.approx(3 * (2 * 30.0 + 100 * (2.0 - table)))


def test_steps_that_were_not_timed_are_scaled_by_those_that_were(tmp_path):
    """A machine that is three times as slow in one kind is taken to be so in all, whatever the size."""
    three_times = 3 * TABLE.of(DEMO, "gan").seconds
    costs = StepCosts(measure_steps(DEMO, [finished(tmp_path, gan=times(three_times))], shared=False))
    for config in (DEMO, make_config("small", model={"precision": "float32"})):
        assert costs.of(config, "semi").seconds == pytest.approx(3 * TABLE.of(config, "semi").seconds)
    assert costs.of(DEMO, "sample").seconds == pytest.approx(3 * TABLE.of(DEMO, "sample").seconds)


def test_other_networks_say_nothing_of_the_machine_as_the_table_has_none_of_them(tmp_path):
    wide = make_config("demo", model={"precision": "float32", "gan_width": 40})
    costs = StepCosts(measure_steps(wide, [finished(tmp_path, gan=times(50.0))], shared=False))
    assert costs.of(wide, "gan").seconds == 50.0
    assert costs.of(DEMO, "gan") == TABLE.of(DEMO, "gan")


def test_stages_of_few_steps_of_all_sites_of_before_or_of_other_kinds_are_not_taken(tmp_path):
    fold = finished(tmp_path, pretraining=times(1.0), gan={**times(1.0), "steps": 2}, semi_supervised={"seconds": 4.0})
    finished(tmp_path, refinement=times(9.0))  # of a kind that the table does not have
    assert list(measure_steps(DEMO, [fold], shared=True)) == []
    assert [word.split("-")[0] for word in measure_steps(DEMO, [fold], shared=False)] == ["pretraining"]


def test_the_words_say_what_a_time_rests_on(tmp_path):
    assert "a guess" in TABLE.describe(DEMO, {"gan"})
    costs = StepCosts(measure_steps(DEMO, [finished(tmp_path, gan=times(1.0))], shared=False))
    assert costs.describe(DEMO, {"gan"}) == "from steps timed on this machine"
    assert costs.describe(DEMO, {"gan", "sample"}) == "from steps timed on this machine"  # volumes never are
    assert "partly guessed" in costs.describe(DEMO, {"gan", "unet"})
    assert "partly guessed" in costs.describe(make_config("small", model={"precision": "float32"}), {"gan"})


def test_kept_times_are_read_back_and_those_with_as_many_threads_come_first(tmp_path, monkeypatch):
    machine = {"processor": "one", "gpus": [], "libraries": {}, "threads": 2, "environment": {}}
    monkeypatch.setattr(step_times, "describe_machine", lambda: machine)
    keep_step_times(tmp_path, {"gan-a": StepTime(1.0, 2.0, 0.5), "gan-b": StepTime(4.0, 5.0)})
    machine["threads"] = 1
    assert read_step_times(tmp_path)["gan-a"] == StepTime(1.0, 2.0, 0.5)
    keep_step_times(tmp_path, {"gan-a": StepTime(7.0, 8.0)})
    assert read_step_times(tmp_path) == {"gan-a": StepTime(7.0, 8.0), "gan-b": StepTime(4.0, 5.0)}
    machine["threads"] = 2
    assert read_step_times(tmp_path)["gan-a"].seconds == 1.0
    machine["processor"] = "another"
    assert read_step_times(tmp_path) == {}


def test_a_damaged_file_of_times_is_passed_over(tmp_path):
    keep_step_times(tmp_path, {"gan-a": StepTime(1.0, 2.0)})
    (file,) = tmp_path.rglob("gan-a.json")
    file.write_text('{"seconds": 1')
    assert read_step_times(tmp_path) == {}
    file.write_text('{"seconds": "long"}')
    assert read_step_times(tmp_path) == {}


def test_a_stage_times_its_steps_apart_from_its_start(tmp_path, monkeypatch):
    """Twelve seconds and three are what its first two steps took beyond half a second each."""
    now = [100.0]
    monkeypatch.setattr("fedsim_tf.training.stage.time.monotonic", lambda: now[0])
    stage = OpenStage(RunFolder(tmp_path / "run", DEMO), "gan", objects={})
    for step, seconds in enumerate((12.5, 3.5, 0.5, 0.5, 0.5, 0.5)):
        now[0] += seconds
        stage.add(step, {"loss": 1.0})
    record = stage.finish()
    assert (record["start_seconds"], record["step_seconds"]) == (15.0, 0.5)


def test_a_stage_of_a_few_steps_has_no_time_of_a_step(tmp_path):
    stage = OpenStage(RunFolder(tmp_path / "run", DEMO), "gan", objects={})
    for step in range(WARM_UP):
        stage.add(step, {"loss": 1.0})
    assert "step_seconds" not in stage.finish()


def test_who_wants_to_know_is_told_of_each_stage_of_a_run_its_folds_and_sites(tmp_path):
    told = []
    run = RunFolder(tmp_path / "run", DEMO, after_stage=lambda: told.append(len(told)))
    for folder in (run, run.fold(0), run.fold(0).site("leeds")):
        folder.finish("gan", {"steps": 1})
    assert told == [0, 1, 2]


def test_a_damaged_record_of_another_stage_does_not_end_a_run(tmp_path, caplog):
    """It is written again when its stage comes; what is left is just not said."""
    (tmp_path / "run" / "fold_0" / "stages").mkdir(parents=True)
    (tmp_path / "run" / "fold_0" / "stages" / "gan.json").write_text('{"steps": 1')
    start = types.SimpleNamespace(
        run_dir=tmp_path / "run", cache_dir=tmp_path / "cache", folds=[0], federated=False, settled_config=DEMO
    )
    note_stage(start)
    assert "left" not in caplog.text
