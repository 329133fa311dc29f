"""A federated run at toy size over two tiny cohorts that stand in for the phantom sites."""

import json
import types

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.splits import PAPER_SIZES, SplitSizes
from fedsim_tf.errors import InputError
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.runs.finished import open_finished_fold
from fedsim_tf.runs.start import refuse_other_experiment
from tests.evaluation.pictures_for_tests import is_drawn, recorded_titles
from tests.runs.toy_cohorts import write_paper_cohort, write_shapes
from tests.runs.toy_starts import open_and_run_federated
from tests.training.toy_site import toy_config

SITES = ("ct20", "ct34lc")
ARMS = ("lower_bound", "direct_fl", "ours_sim_fl", "ours_sim_fl_plus")
_CONFIGURED = ("lower_bound", "direct_fl", "ours_pre", "ours_full", "ours_sim_fl_plus")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("federated")
    config = toy_config(
        data={"labels": 2},
        model={"shape_model": str(write_shapes(root / "shapes.npz"))},
        pretraining={"steps": 1},
        gan={"steps": 1},
        semi={"steps": 1},
        synthesis={"volumes": 1},
        plus={"volumes": 2, "copies": 1, "enhancement": "slices"},
        segmentation={"arms": _CONFIGURED, "pretraining_steps": 1, "finetuning_steps": 1},
        federated={"sites": SITES, "latents_of": 2},
    )
    with pytest.MonkeyPatch.context() as patch, recorded_titles() as titles:
        for site in SITES:
            write_paper_cohort(root / site, site)
            patch.setitem(PAPER_SIZES, site, SplitSizes(3, 1, 1))
        patch.setattr("fedsim_tf.phantom.cohort.ensure_site", lambda site, *_, **__: root / site)
        metrics = open_and_run_federated(config, root / "run", cache_dir=root / "cache").to_json()
    return types.SimpleNamespace(fold=root / "run" / "fold_0", run=root / "run", metrics=metrics, titles=titles)


def test_every_site_has_its_own_scores_for_each_arm(finished):
    """Both of the method's arms are one here: the global distribution comes after semi-supervised learning."""
    assert {site: tuple(arms) for site, arms in finished.metrics["summary"].items()} == dict.fromkeys(SITES, ARMS)
    (fold,) = finished.metrics["folds"]
    tested = {site: {case for arm in ARMS for case in fold[site][arm]["cases"]} for site in SITES}
    assert all(len(cases) == 1 for cases in tested.values())
    assert next(iter(tested["ct20"])).startswith("ct_train_")
    assert next(iter(tested["ct34lc"])).startswith("ct_100")
    assert all(0 < fold[site][arm]["dice"] <= 100 for site in SITES for arm in ARMS)
    assert json.loads((finished.run / "metrics.json").read_text())["summary"] == finished.metrics["summary"]


@pytest.mark.parametrize("site", SITES)
def test_every_site_has_a_generator_of_what_all_have_learnt(finished, site):
    generator = load_generator(finished.fold / "sites" / site / "generators" / "ours_sim_fl")
    (fold,) = finished.metrics["folds"]
    assert (generator.card.data_set, generator.card.sites) == (site, SITES)
    assert generator.card.scores["dice"] == pytest.approx(fold[site]["ours_sim_fl"]["dice"])
    (volume,) = generator.sample(1, seed=0)
    file = finished.fold / "sites" / site / "samples" / "ours_sim_fl" / "synthetic_000_label.nii.gz"
    np.testing.assert_array_equal(volume.label.array, sitk.GetArrayFromImage(sitk.ReadImage(str(file))))


@pytest.mark.parametrize("site", SITES)
def test_what_goes_beyond_the_paper_rests_on_what_all_sites_have_learnt(finished, site):
    """Its latents are those of Ours-Sim-FL; its hearts are changed, and there are as many as are asked for."""
    beyond = load_generator(finished.fold / "sites" / site / "generators" / "ours_sim_fl_plus")
    assert beyond.card.sites == SITES
    samples = finished.fold / "sites" / site / "samples"
    drawn = [np.load(samples / arm / "samples.npz") for arm in ("ours_sim_fl", "ours_sim_fl_plus")]
    assert [len(one["label"]) for one in drawn] == [1, 2]
    np.testing.assert_array_equal(drawn[0]["latent"][0], drawn[1]["latent"][0])
    assert not np.array_equal(drawn[0]["label"][0], drawn[1]["label"][0])


def test_a_federated_run_is_not_gone_on_with_as_a_single_sites(finished):
    refuse_other_experiment(finished.run, federated=True)
    with pytest.raises(InputError, match=r"found a federated run; expected .* another run folder"):
        refuse_other_experiment(finished.run, federated=False)


def test_shared_stages_run_once_and_the_rest_at_each_site(finished):
    stages = {name.removeprefix("fold_0/") for name in finished.metrics["stages"]}
    shared = {"pretraining", "semi_supervised", "segmentation/direct_fl/pretrain"}
    alone = {"gan", *(f"segmentation/{arm}/{part}" for arm in ARMS for part in ("pretrain", "finetune"))}
    assert stages == shared | {f"sites/{site}/{stage}" for site in SITES for stage in shared | alone}
    losses = finished.metrics["stages"]["fold_0/pretraining"]["losses"]
    assert {name.split("/")[0] for name in losses} == set(SITES)


def test_each_site_keeps_its_own_samples(finished):
    for site in SITES:
        names = {path.name for path in (finished.fold / "sites" / site / "samples" / "ours_sim_fl").iterdir()}
        synthetic = {"synthetic_000_image.nii.gz", "synthetic_000_label.nii.gz"}
        assert names == synthetic | {"samples.npz", "shape_modes.json"}
    first, second = (
        (finished.fold / "sites" / s / "samples" / "ours_sim_fl" / "synthetic_000_image.nii.gz").read_bytes()
        for s in SITES
    )
    assert first != second


def test_what_was_learnt_together_is_left_at_the_server(finished):
    with np.load(finished.fold / "shared_model.npz") as model:
        names = {name.split("/")[0] for name in model.files}
        assert names == {"shape", "material", "latents"}
        assert model["latents/covariance"].shape == (64, 64)


def test_every_picture_report_and_record_says_phantom(finished):
    names = (*(f"{kind}_ours_sim_fl" for kind in ("samples", "hearts", "likeness")), "segmentations", "losses")
    wanted = {f"sites/{site}/pictures/{name}.png": f"phantom cohort ({site})" for site in SITES for name in names}
    wanted["pictures/losses.png"] = "phantom cohort (ct20), phantom cohort (ct34lc)"
    for name, data in wanted.items():
        assert is_drawn(finished.fold / name), name
        assert data in finished.titles[str(finished.fold / name)][0], name
    assert finished.metrics["facts"]["data"] == "phantom cohort (ct20), phantom cohort (ct34lc)"
    page = (finished.run / "report.html").read_text(encoding="utf-8")
    assert "<h1>Federated: phantom cohort (ct20), phantom cohort (ct34lc)</h1>" in page
    assert "Ours-Sim-FL" in page


def test_every_sites_network_can_be_used_afterwards(finished):
    for site in SITES:
        fold = open_finished_fold(finished.fold / "sites" / site)
        config, segment = fold.run.config, fold.load_segmenter(fold.last_stage_of("direct_fl"))
        assert segment(np.zeros((config.model.size,) * 3, np.float32)).shape == (config.model.size,) * 3


def test_metrics_say_how_many_labels_each_site_had(finished):
    assert finished.metrics["facts"]["labelled"] == dict.fromkeys(SITES, 2)
