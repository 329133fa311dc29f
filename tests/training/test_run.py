"""A run's folder and the configuration that it was begun with."""

import dataclasses
import json

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.runs.results import draw_losses, finish, gather_facts
from fedsim_tf.training.run import RunFolder, reopen_run
from tests.training.toy_site import toy_config


def test_a_run_of_before_a_field_was_added_is_opened_with_its_default(tmp_path):
    config = toy_config()
    RunFolder(tmp_path / "run", config)
    file = tmp_path / "run" / "config.json"
    kept = json.loads(file.read_text())
    del kept["data"]["field_of_view_z_mm"]
    file.write_text(json.dumps(kept))
    assert RunFolder(tmp_path / "run", config).config == config
    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, field_of_view_z_mm=100.0))
    file.write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"data\.field_of_view_z_mm=0\.0 \(now 100\.0\)"):
        RunFolder(tmp_path / "run", changed)


def test_a_run_of_before_a_field_that_changed_what_is_done_is_opened_as_it_was_begun(tmp_path):
    """Such a run has up-convolutions in the network of Ours-Plus; its checkpoints fit no other network."""
    begun = toy_config(plus={"interpolated": False})
    RunFolder(tmp_path / "run", begun)
    file = tmp_path / "run" / "config.json"
    kept = json.loads(file.read_text())
    del kept["plus"]["interpolated"]
    file.write_text(json.dumps(kept))
    RunFolder(tmp_path / "run", toy_config())  # no arm of it uses that network
    kept["segmentation"]["arms"] = ["ours_plus"]
    arms = {"arms": ("ours_plus",)}
    begun, now = toy_config(plus={"interpolated": False}, segmentation=arms), toy_config(segmentation=arms)
    file.write_text(json.dumps(kept))
    assert reopen_run(tmp_path / "run").config == begun
    file.write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"plus\.interpolated=False \(now True\)"):
        RunFolder(tmp_path / "run", now)
    assert RunFolder(tmp_path / "run", begun).config == begun


def test_a_run_goes_on_with_files_that_were_moved(tmp_path):
    """What they hold is compared by `same_data`; that there is a file, and not the project's own, here."""
    paths = {"data": {"root": "/old"}, "model": {"shape_model": "/old/shapes.npz", "vgg_weights": "/old/vgg.npz"}}
    RunFolder(tmp_path / "run", toy_config(**paths))
    moved = {"data": {"root": "/new"}, "model": {"shape_model": "/new/shapes.npz", "vgg_weights": "/new/vgg.npz"}}
    RunFolder(tmp_path / "run", toy_config(**moved))
    assert json.loads((tmp_path / "run" / "config.json").read_text())["data"]["root"] == "/new"
    for change in ({"data": {"root": ""}}, {"model": {"shape_model": ""}}, {"model": {"vgg_weights": "random"}}):
        other = {name: {**moved[name], **change.get(name, {})} for name in moved}
        with pytest.raises(InputError, match="found a run with"):
            RunFolder(tmp_path / "run", toy_config(**other))


def test_what_a_killed_process_left_half_written_is_no_record(tmp_path):
    run = RunFolder(tmp_path / "run", toy_config())
    run.finish("gan", {"steps": 3})
    for folder, name in (("stages", "semi.json"), ("losses", "gan.csv"), ("pictures", "losses.png")):
        (run.path / folder).mkdir(exist_ok=True)
        (run.path / folder / f".partial-123-{name}").write_bytes(b"")
    assert run.records() == {"gan": {"steps": 3}}
    draw_losses(run, data="nothing")
    facts = gather_facts(run, {}, experiment="single_site", data="nothing", labelled=0, vgg="random")
    metrics = finish(run, [{"site": {}}], title="Nothing", facts=facts, stages={})
    assert "partial" not in (run.path / "report.html").read_text()
    assert metrics.stages == {}
