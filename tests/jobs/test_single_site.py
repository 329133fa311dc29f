"""A whole run at toy size on files of a tiny cohort: what it leaves, how it resumes, and using what it learnt."""

import html
import json
import pathlib
import re
import types

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.config import ARMS
from fedsim_tf.errors import InputError
from fedsim_tf.jobs import samples as samples_module
from fedsim_tf.jobs.apply import open_segmenter, segment_file
from fedsim_tf.jobs.single_site import run_single_site
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.segmentation import _Training
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.evaluation.pictures_for_tests import is_drawn, recorded_titles
from tests.jobs.toy_cohorts import CUBE, ball, without_times, write, write_own_cohort, write_shapes
from tests.training.toy_site import toy_config

STEPS = {
    "pretraining": 4,
    "gan": 3,
    "semi_supervised": 4,
    **{f"segmentation/{arm}/{part}": steps for arm in ARMS for part, steps in (("pretrain", 8), ("finetune", 8))},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One undisturbed run, with the words above its pictures."""
    root = tmp_path_factory.mktemp("single_site")
    write_own_cohort(root / "data")
    config = toy_config(
        dataset="nifti",
        data={"root": str(root / "data"), "labels": 2},
        model={"shape_model": str(write_shapes(root / "shapes.npz"))},
        segmentation={"arms": ARMS, "pretraining_steps": 8, "finetuning_steps": 8, "rate": 0.03},
    )
    with recorded_titles() as titles:
        metrics = run_single_site(config, root / "run", cache_dir=root / "cache")
    return types.SimpleNamespace(
        root=root, run=root / "run", fold=root / "run" / "fold_0", config=config, metrics=metrics, titles=titles
    )


def again(finished, folder="run"):
    return run_single_site(finished.config, finished.root / folder, cache_dir=finished.root / "cache")


def test_metrics_on_disk_are_those_returned(finished):
    assert json.loads((finished.run / "metrics.json").read_text()) == json.loads(json.dumps(finished.metrics))
    print(json.dumps(finished.metrics["folds"], indent=1))
