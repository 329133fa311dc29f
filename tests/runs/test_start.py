"""What a run starts from: opened once, refused early, and compared with what an earlier start began."""

import dataclasses

import numpy as np
import pytest

from fedsim_tf.config import from_dict, merge
from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.errors import InputError
from fedsim_tf.files import digest_file, write_json
from fedsim_tf.runs.estimate import count_done, describe_run
from fedsim_tf.runs.known_hearts import find_known_hearts
from fedsim_tf.runs.same_data import check_same_data
from fedsim_tf.runs.start import open_run
from fedsim_tf.shape.ssm import load_shape_model
from fedsim_tf.training.run import RunFolder
from tests.runs.toy_cohorts import ball, write, write_own_cohort, write_shapes
from tests.training.toy_site import toy_config


@pytest.fixture
def config(tmp_path):
    write_own_cohort(tmp_path / "data")
    shapes = write_shapes(tmp_path / "shapes.npz")
    return toy_config(
        dataset="nifti", data={"root": str(tmp_path / "data"), "labels": 2}, model={"shape_model": str(shapes)}
    )


def opened(config, tmp_path, **changes):
    config = from_dict(merge(config.to_dict(), changes))
    return open_run(config, tmp_path / "run", sites=("nifti",), cache_dir=tmp_path / "cache")


def test_opening_a_run_prepares_its_volumes_and_writes_nothing_into_its_folder(config, tmp_path, monkeypatch):
    start = opened(config, tmp_path)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(type(start.cohorts["nifti"]), "load", lambda *_: pytest.fail("a volume was read again"))
    volumes = start.open_fold("nifti", 0)
    assert len(volumes.labelled) == 2
    again = opened(config, tmp_path)
    assert again.labels == {"nifti": 2}


def test_the_run_folder_is_claimed_with_the_settled_configuration(config, tmp_path):
    start = opened(config, tmp_path, model={"precision": "float32", "vgg_weights": "random"})
    run = start.claim()
    assert run.config == start.settled_config
    assert (tmp_path / "run" / "config.json").is_file()


def held_out(config):
    """Return a scan that validates or tests in fold 0, and one that is learnt from."""
    fold = find_cohort("nifti", config.data.root).fold(0, seed=config.data.split_seed)
    return fold.test[0], fold.train[0]


def save_model(path, config, **subjects):
    model = load_shape_model(config.model.shape_model, n_modes=config.model.shape_modes)
    dataclasses.replace(model, **subjects).save(path)
    return str(path)


def label_file(config, scan):
    (case,) = (case for case in find_cohort("nifti", config.data.root).files if case.identity == scan)
    return case.label


def test_a_shape_model_of_a_test_patient_is_refused_whatever_the_patient_is_called(config, tmp_path):
    test, train = held_out(config)
    known = (digest_file(label_file(config, test)), "0" * 64)
    path = save_model(tmp_path / "known.npz", config, subjects=("x", "y"), subject_digests=known)
    with pytest.raises(InputError, match=rf"known.npz: found .*validate or test: {test}; .*shape_model_of_held_out"):
        opened(config, tmp_path, model={"shape_model": path})
    opened(config, tmp_path, model={"shape_model": path, "shape_model_of_held_out": True})
    others = (digest_file(label_file(config, train)), "0" * 64)
    path = save_model(tmp_path / "others.npz", config, subjects=(test, "y"), subject_digests=others)
    opened(config, tmp_path, model={"shape_model": path})  # of the same name, but another file


def test_an_older_shape_model_is_told_by_the_names_of_its_subjects(config, tmp_path):
    test, train = held_out(config)
    path = save_model(tmp_path / "old.npz", config, subjects=(f"{test}_label", train))
    with pytest.raises(InputError, match=f"validate or test: {test};"):
        opened(config, tmp_path, model={"shape_model": path})
    path = save_model(tmp_path / "fine.npz", config, subjects=(train, "somebody"))
    opened(config, tmp_path, model={"shape_model": path})


def test_a_shape_model_without_some_regions_is_refused_where_regions_are_told_apart(config, tmp_path):
    expected = r"shapes.npz: found no LA, RA, myocardium, aorta, PA; expected .* all seven regions for model.labels=reg"
    with pytest.raises(InputError, match=expected):
        opened(config, tmp_path, model={"labels": "regions"})
    assert not (tmp_path / "cache").exists()
    opened(config, tmp_path, model={"labels": "regions", "shape_model": "", "shape_modes": 4})


def test_all_known_hearts_are_found():
    class Cohort:
        def label_digest(self, scan):
            return {"a": "1", "b": "2", "c": "3"}[scan]

    class Model:
        subjects, subject_digests = ("c",), ("3", "1", "9")

    assert find_known_hearts(Model, Cohort(), ["a", "b", "c"]) == ["a", "c"]


def test_data_that_changed_since_a_fold_began_is_refused_before_the_run_goes_on(config, tmp_path):
    start = opened(config, tmp_path)
    run = RunFolder(tmp_path / "run", start.config)
    volumes = start.open_fold("nifti", 0)
    check_same_data(run.fold(0), volumes)
    opened(config, tmp_path)
    test = volumes.test.identities[0]
    image, _ = ball(77)
    write(tmp_path / "data" / "images" / f"{test}.nii.gz", np.flip(image, 0).copy())
    write(tmp_path / "data" / "labels" / f"{test}.nii.gz", ball(77)[1])
    with pytest.raises(InputError, match=f"{test} changed since the fold began"):
        opened(config, tmp_path)


def test_the_plan_leaves_out_what_is_done(config, tmp_path):
    start = opened(config, tmp_path)
    assert "generator pre-training" in describe_run(start)
    fold = tmp_path / "run" / "fold_0"
    steps = start.config.pretraining.steps
    write_json(fold / "stages" / "pretraining.json", {"steps": steps})
    write_json(fold / "stages" / "segmentation" / "lower_bound" / "pretrain.json", {"steps": 2})
    assert dict(count_done(tmp_path / "run", [0], federated=False)) == {
        "generator pre-training": steps,
        "3D U-Nets, all arms": 2,
    }
    text = describe_run(start)
    assert "generator pre-training" not in text
    settings = start.config.segmentation
    left = 3 * (settings.pretraining_steps + settings.finetuning_steps) - 2
    assert f"3D U-Nets, all arms{left:>13} steps" in text
