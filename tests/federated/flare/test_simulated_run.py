"""A federated run on FLARE's simulator as the command makes it, against the same run in one process."""

import numpy as np
import pytest

from fedsim_tf.federated.engines import IN_PROCESS, NVFLARE
from fedsim_tf.federated.flare import jobs
from fedsim_tf.runs import on_flare
from tests.federated.flare.federation import REPOSITORY, job_of_tests
from tests.federated.flare.fold import ToyFoldController, ToyFoldExecutor, as_toy_sites_do, check_same_losses
from tests.runs.toy_cohorts import without_times, write_own_cohort, write_shapes
from tests.runs.toy_starts import open_and_run_federated
from tests.training.toy_site import toy_config

SITE = "nifti"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folder and metrics of the run by either engine, and the lines that FLARE's has shown."""
    root = tmp_path_factory.mktemp("engines")
    write_own_cohort(root / "scans", annotated=5)
    config = toy_config(
        data={"labels": 2, "root": str(root / "scans")},
        model={"shape_model": str(write_shapes(root / "shapes.npz")), "vgg_weights": "random"},
        pretraining={"steps": 2},
        gan={"steps": 1},
        semi={"steps": 2},
        synthesis={"volumes": 1},
        segmentation={"arms": ("direct_fl", "ours_full"), "pretraining_steps": 1, "finetuning_steps": 1},
        federated={"sites": (SITE,), "latents_of": 2},
    )
    found, shown = {}, []
    with as_toy_sites_do() as patch:
        patch.setenv("PYTHONPATH", str(REPOSITORY))
        patch.setattr(on_flare, "COMPONENTS", (ToyFoldController, ToyFoldExecutor))
        patch.setattr(on_flare, "FoldController", ToyFoldController)
        patch.setattr(on_flare, "FoldExecutor", ToyFoldExecutor)
        patch.setattr(on_flare, "make_job", job_of_tests)
        for engine in (IN_PROCESS, NVFLARE):
            if engine == NVFLARE:
                patch.setattr(jobs.logging, "log", lambda level, text, *words: shown.append(text % words))
            metrics = open_and_run_federated(config, root / engine, cache_dir=root / "cache", engine=engine).to_json()
            found[engine] = root / engine, metrics
    return found, shown


def test_the_run_is_the_same(runs):
    engines, _ = runs
    (mine, wanted), (other, found) = engines[IN_PROCESS], engines[NVFLARE]
    check_same_losses(mine / "fold_0", other / "fold_0")
    models = [np.load(run / "fold_0" / "shared_model.npz") for run in (mine, other)]
    for name in models[0].files:
        np.testing.assert_allclose(models[1][name], models[0][name], rtol=1e-6, atol=1e-6)
    wanted, found = (without_times(metrics) for metrics in (wanted, found))
    assert list(found) == list(wanted)
    assert found["facts"] == wanted["facts"]
    assert list(found["stages"]) == list(wanted["stages"])
    for arm, scores in wanted["summary"][SITE].items():
        assert found["summary"][SITE][arm]["dice"] == pytest.approx(scores["dice"], abs=1e-3)


def test_stages_are_seen_and_flares_own_lines_are_not(runs):
    _, shown = runs
    assert "pretraining: done" in shown
    assert not any("task" in line for line in shown)
