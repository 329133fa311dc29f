"""Folds one by one or all together, in whatever order processes come to them."""

import json

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.runs import results
from fedsim_tf.runs.folds import run_folds
from fedsim_tf.training import run as run_module
from fedsim_tf.training.run import RunFolder, fold_numbers
from tests.evaluation.records_for_tests import scores
from tests.training.toy_site import toy_config

CONFIG = toy_config(data={"folds": 3})


@pytest.fixture
def made():
    """Folds in the order in which they were made, and what makes them."""
    numbers = []

    def make(fold, number):
        numbers.append(number)
        fold.finish("stage", {"seconds": number})
        return {"ct20": {"arm": scores(80.0 + number)}}

    return numbers, make


def test_all_folds_are_made_in_order_with_their_stages(tmp_path, made):
    numbers, make = made
    folds = run_folds(RunFolder(tmp_path / "run", CONFIG), range(3), make)
    assert numbers == [0, 1, 2]
    assert [fold["ct20"]["arm"].dice for fold in folds.scores] == [80.0, 81.0, 82.0]
    assert folds.stages == {f"fold_{k}/stage": {"seconds": k} for k in range(3)}


def test_folds_made_alone_are_read_back_by_the_call_for_all(tmp_path, made):
    numbers, make = made
    run = RunFolder(tmp_path / "run", CONFIG)
    alone = [run_folds(run, [number], make) for number in (2, 0)]
    assert [list(folds.stages) for folds in alone] == [["fold_2/stage"], ["fold_0/stage"]]
    folds = run_folds(run, range(3), make)
    assert numbers == [2, 0, 1]
    assert [fold["ct20"]["arm"].dice for fold in folds.scores] == [80.0, 81.0, 82.0]


@pytest.mark.parametrize("number", [-1, 3])
def test_a_fold_that_the_run_does_not_have_is_refused(number):
    with pytest.raises(InputError, match=f"only_fold is {number}; it must be 0 to 2"):
        fold_numbers(CONFIG, number)


def test_two_processes_may_begin_the_same_run_at_once(tmp_path):
    """The file that the other one is just writing makes the folder no stranger's."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".partial-1-config.json").write_text("{")
    RunFolder(folder, CONFIG)
    assert json.loads((folder / "config.json").read_text())["seed"] == CONFIG.seed


def test_a_file_that_comes_between_two_looks_makes_the_folder_no_strangers_either(tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def begun_by_another(path):
        monkeypatch.undo()
        RunFolder(path, CONFIG)
        return True

    monkeypatch.setattr(run_module, "_has_foreign_files", begun_by_another)
    RunFolder(folder, CONFIG)


def find_commits(run):
    return results.gather_facts(run, {}, experiment="single_site", data="none", labelled=1, vgg="random").commit


def test_every_code_that_worked_on_a_run_is_named(tmp_path, made, monkeypatch):
    run = RunFolder(tmp_path / "run", CONFIG)
    for number, code in ((0, "aaa"), (1, "bbb"), (2, "aaa"), (2, "ccc")):
        monkeypatch.setattr(results, "current_commit", lambda code=code: code)
        run_folds(run, [number], made[1])
    assert find_commits(run) == "aaa bbb"


def test_code_that_goes_on_with_a_fold_is_named_beside_the_one_that_began_it(tmp_path, made, monkeypatch):
    run = RunFolder(tmp_path / "run", CONFIG)

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(results, "current_commit", lambda: "aaa")
    with pytest.raises(KeyboardInterrupt):
        run_folds(run, [0], killed)
    monkeypatch.setattr(results, "current_commit", lambda: "bbb")
    run_folds(run, [0], made[1])
    assert find_commits(run) == "aaa bbb"
