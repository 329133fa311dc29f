"""The jobs' small parts: samples kept as NIfTI, what each arm trains on, what a run starts from and leaves."""

import dataclasses
import json
import types

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.errors import InputError
from fedsim_tf.metrics import MEASURES
from fedsim_tf.models import precision
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.runs import compare_arms, inputs
from fedsim_tf.runs import samples as samples_module
from fedsim_tf.runs.finished import finished_arms
from fedsim_tf.runs.inputs import count_labels, describe_source, open_cohort, open_shape_model, settle_choices
from fedsim_tf.runs.results import finish, gather_facts
from fedsim_tf.runs.same_data import check_same_data
from fedsim_tf.runs.samples import draw_samples
from fedsim_tf.runs.start import check_arms
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import stack_images
from tests.evaluation.records_for_tests import scores
from tests.runs.toy_cohorts import write_shapes
from tests.training.toy_site import toy_config, toy_site

RUN = types.SimpleNamespace(config=None)
MODEL = types.SimpleNamespace(size=8, field_of_view_mm=(160.0, 120.0, 80.0))


@pytest.fixture
def drawn():
    """Two known volumes instead of a model's, and how often they were drawn."""
    rng = np.random.default_rng(0)
    volumes = []
    for _ in range(2):
        image = rng.uniform(-1, 1, (8, 8, 8)).astype(np.float32)
        image[0, 0, :2] = -1, 1
        label = (rng.random((8, 8, 8)) > 0.5).astype(np.uint8)
        coarse, latent = rng.normal(size=(4, 4, 4)).astype(np.float32), rng.normal(size=5).astype(np.float32)
        volumes.append(SyntheticVolume(image, label, coarse, latent))
    asked = []

    def draw():
        asked.append("drawn")
        return iter(volumes)

    return types.SimpleNamespace(volumes=volumes, asked=asked, draw=draw)


def test_samples_are_written_in_hu_where_the_training_volumes_lie(tmp_path, drawn):
    config = toy_config(data={"window_low_hu": -500.0, "window_high_hu": 1500.0})
    draw_samples(tmp_path, MODEL, config, volumes=drawn.draw)
    for number, volume in enumerate(drawn.volumes):
        image, label = (
            sitk.ReadImage(str(tmp_path / f"synthetic_{number:03d}_{k}.nii.gz")) for k in ("image", "label")
        )
        np.testing.assert_allclose(sitk.GetArrayFromImage(image), volume.image * 1000.0 + 500.0, atol=0.51)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(label), volume.label)
        assert "integer" in image.GetPixelIDTypeAsString()
        for one in (image, label):
            np.testing.assert_allclose(one.GetSpacing(), (20, 15, 10))
            np.testing.assert_allclose(one.GetOrigin(), (-70, -52.5, -35))
            np.testing.assert_allclose(one.GetDirection(), np.eye(3).ravel(), atol=1e-12)


def test_samples_are_drawn_once_and_read_back_to_the_last_bit(tmp_path, drawn):
    config = toy_config(seed=11, synthesis={"volumes": 2})
    first = draw_samples(tmp_path, MODEL, config, volumes=drawn.draw)
    again = draw_samples(tmp_path, MODEL, config, volumes=drawn.draw)
    assert len(drawn.asked) == 1
    for found in (first, again):
        for volume, expected in zip(found, drawn.volumes, strict=True):
            for part, wanted in zip(volume, expected, strict=True):
                np.testing.assert_array_equal(part, wanted)
                assert part.dtype == wanted.dtype


def test_samples_whose_drawing_was_stopped_are_drawn_anew(tmp_path, drawn, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(samples_module, "_save", stopped)
        with pytest.raises(KeyboardInterrupt):
            draw_samples(tmp_path, MODEL, toy_config(), volumes=drawn.draw)
    assert len(draw_samples(tmp_path, MODEL, toy_config(), volumes=drawn.draw)) == 2
    assert len(drawn.asked) == 2


@pytest.mark.parametrize("harm", ["truncated", "foreign", "incomplete"])
def test_damaged_samples_are_named_with_what_to_do(tmp_path, drawn, harm):
    draw_samples(tmp_path, MODEL, toy_config(), volumes=drawn.draw)
    file = tmp_path / "samples.npz"
    if harm == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif harm == "foreign":
        file.write_bytes(b"no archive")
    else:
        np.savez(file, image=np.zeros((2, 8, 8, 8), np.float32))
    with pytest.raises(InputError, match=r"samples\.npz: found damaged samples; expected .* delete it") as caught:
        draw_samples(tmp_path, MODEL, toy_config(), volumes=drawn.draw)
    assert "\n" not in str(caught.value)
    file.unlink()
    assert len(draw_samples(tmp_path, MODEL, toy_config(), volumes=drawn.draw)) == 2


@pytest.fixture
def trained(monkeypatch):
    """Which volumes each arm was given, instead of training."""
    parts = {}

    def train_segmenter(run, network, arm, *, pretrain, finetune, augmented):
        assert augmented == arm.endswith("_augmented")
        parts[arm] = pretrain, finetune, network.validation
        return lambda image: np.ones(image.shape, np.uint8)

    monkeypatch.setattr(compare_arms, "train_segmenter", train_segmenter)
    network = lambda _, validation: types.SimpleNamespace(validation=validation)  # noqa: E731
    monkeypatch.setattr(compare_arms, "UNetTraining", network)
    return parts


def test_an_augmented_arm_has_the_volumes_of_its_plain_one_and_what_that_is_tuned_on_beside(trained, drawn):
    site, arms = toy_site(), ("lower_bound_augmented", "ours_plus", "ours_plus_augmented")
    samples = dict.fromkeys(arms[1:], drawn.volumes)
    compare_arms.compare(RUN, site, arms, samples, beside=dict.fromkeys(arms[1:], lambda: site.test))
    assert tuple(trained) == arms
    names = {arm: [part.identities for part in parts] for arm, parts in trained.items()}
    assert names["ours_plus_augmented"] == names["ours_plus"]
    assert set(names["ours_plus"][1]) == {*site.labelled.identities, *site.test.identities}
    assert names["lower_bound_augmented"][:2] == [site.labelled.identities] * 2


def test_each_arm_trains_on_its_own_volumes_and_all_are_scored_alike(trained, drawn):
    site = toy_site()
    arms = ("lower_bound", "ours_full", "upper_bound")
    segmenters, found = compare_arms.compare(RUN, site, arms, {"ours_full": drawn.volumes})
    assert tuple(segmenters) == tuple(found) == arms
    assert tuple(trained) == arms
    names = {arm: [part.identities for part in parts] for arm, parts in trained.items()}
    labelled, everyone = ("toy_0_0", "toy_0_1", "toy_0_2"), 5
    assert names["lower_bound"] == [labelled, labelled, ("toy_200_0",)]
    assert names["ours_full"] == [("synthetic_000", "synthetic_001"), labelled, ("toy_200_0",)]
    pretrain, finetune, _ = names["upper_bound"]
    assert pretrain == finetune
    assert len(finetune) == everyone
    assert set(labelled) < set(finetune)
    for row in found.values():
        assert set(row.cases) == {"toy_300_0", "toy_300_1"}


def test_where_all_is_annotated_both_bounds_are_one_network_that_is_trained_once(trained, tmp_path):
    site = toy_site()
    everything = dataclasses.replace(site, labelled=site.fully_labelled, unlabelled=stack_images([], 32))
    arms = ("upper_bound", "lower_bound")
    segmenters, found = compare_arms.compare(RUN, everything, arms, {})
    assert list(trained) == ["lower_bound"]
    assert tuple(segmenters) == tuple(found) == arms
    assert segmenters["upper_bound"] is segmenters["lower_bound"]
    assert found["upper_bound"] == found["lower_bound"]
    compare_arms.compare(RUN, everything, ("upper_bound",), {})
    assert list(trained) == ["lower_bound", "upper_bound"]  # alone it is itself
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": arms}))
    run.finish("segmentation/lower_bound/finetune", {})
    check_same_data(run, site)
    assert set(finished_arms(run)) == {"lower_bound"}
    (run.path / DATA).unlink()
    check_same_data(run, everything)
    assert finished_arms(run) == dict.fromkeys(arms, "segmentation/lower_bound/finetune")
    run.finish("segmentation/upper_bound/finetune", {})  # as runs did before
    assert finished_arms(run)["upper_bound"] == "segmentation/upper_bound/finetune"


def test_an_arm_that_is_another_ones_first_stage_is_trained_once_and_found_there(trained, drawn, tmp_path):
    samples = dict.fromkeys(("ours_fix_mat", "fix_mat_alone"), drawn.volumes)
    compare_arms.compare(RUN, toy_site(), tuple(samples), samples)
    assert list(trained) == ["ours_fix_mat"]
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": tuple(samples)}))
    assert finished_arms(run) == {}
    run.finish("segmentation/ours_fix_mat/pretrain", {})
    assert finished_arms(run) == {"fix_mat_alone": "segmentation/ours_fix_mat/pretrain"}
    run.finish("segmentation/ours_fix_mat/finetune", {})
    assert finished_arms(run)["ours_fix_mat"] == "segmentation/ours_fix_mat/finetune"


def test_no_arm_sees_a_test_volume(trained, drawn):
    site = toy_site()
    compare_arms.compare(RUN, site, ("lower_bound", "ours_pre", "upper_bound"), {"ours_pre": drawn.volumes})
    seen = {name for parts in trained.values() for part in parts for name in part.identities}
    assert seen.isdisjoint(site.test.identities)


def test_synthetic_volumes_are_stacked_in_order(drawn):
    stacked = samples_module.stack_samples(drawn.volumes)
    assert stacked.images.shape == stacked.labels.shape == (2, 8, 8, 8)
    assert stacked.labels.dtype == stacked.images.dtype == np.float32
    np.testing.assert_array_equal(stacked.images[1], drawn.volumes[1].image)
    np.testing.assert_array_equal(stacked.labels[1], drawn.volumes[1].label)


def test_regions_of_synthetic_volumes_are_written_and_stacked(tmp_path, drawn):
    """NIfTI labels have the region ids that data sets of one's own have."""
    regions = np.random.default_rng(1).integers(0, 8, (8, 8, 8)).astype(np.uint8)
    volumes = [volume._replace(label=regions) for volume in drawn.volumes]
    config = toy_config(model={"labels": "regions"}, synthesis={"volumes": 2})
    kept = draw_samples(tmp_path, MODEL, config, volumes=lambda: iter(volumes))
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "synthetic_001_label.nii.gz")))
    np.testing.assert_array_equal(label, regions)
    stacked = samples_module.stack_samples(kept, by_region=True)
    np.testing.assert_array_equal(stacked.regions, [regions] * 2)
    np.testing.assert_array_equal(stacked.labels, [regions > 0] * 2)
    assert stacked.labels.dtype == np.float32
    assert samples_module.stack_samples(kept).regions is None


def test_results_over_folds_and_sites_are_on_disk_and_on_the_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    run = RunFolder(tmp_path / "run", toy_config())
    dices = {"ct20": (80.0, 85.0, 96.0), "ct34lc": (60.0, 66.0, 75.0)}
    folds = [{site: {"ours_full": scores(values[i])} for site, values in dices.items()} for i in range(3)]
    facts = gather_facts(
        run, {}, experiment="federated", data="phantom cohort (ct20)", labelled=dict.fromkeys(dices, 4), vgg="random"
    )
    metrics = finish(run, folds, title="Federated: <phantom> cohort", facts=facts, stages={})
    stored = json.loads((run.path / "metrics.json").read_text())
    assert stored == metrics.to_json()
    assert list(metrics.folds) == folds
    assert stored["facts"]["labelled"] == {"ct20": 4, "ct34lc": 4}
    for site, values in dices.items():
        assert stored["summary"][site]["ours_full"] == pytest.approx(
            {
                "folds": 3,
                **{name: np.mean(values) / (k + 1) for k, name in enumerate(MEASURES)},
                **{f"{name}_std": np.std(values, ddof=1) / (k + 1) for k, name in enumerate(MEASURES)},
            }
        )
    printed = capsys.readouterr().out
    assert f"87.00 ± {np.std(dices['ct20'], ddof=1):.2f}" in printed
    assert str(run.path / "report.html") in printed
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Federated: &lt;phantom&gt; cohort" in page
    assert "67.00" in page


def test_source_says_phantom_or_the_folder(tmp_path):
    assert describe_source(toy_config(), "ct34mc") == "phantom cohort (ct34mc)"
    hearts = toy_config(data={"phantom_shapes": str(write_shapes(tmp_path / "twelve.npz"))})
    assert describe_source(hearts, "ct20") == "phantom cohort (ct20 with 12 given hearts)"
    assert describe_source(hearts, "ct34lc") == "phantom cohort (ct34lc)"
    assert describe_source(toy_config(data={"root": "/d"}), "ct34mc") == "ct34mc in /d"


@pytest.mark.parametrize(
    ("dataset", "federated", "expected"),
    [
        ("ct20", False, 4),
        ("ct20", True, 8),
        ("ct34lc", False, 6),
        ("ct34mc", True, 12),
        ("nifti", False, 6),
        ("nifti", True, 12),
    ],
)
def test_labels_are_the_papers_unless_configured(dataset, federated, expected):
    more = {"more_labels": True}  # which a single-site run does not read
    assert count_labels(toy_config(federated=more), dataset, federated=federated) == expected
    assert count_labels(toy_config(federated=more, data={"labels": 3}), dataset, federated=federated) == 3


def test_no_phantom_stands_in_for_data_of_ones_own(tmp_path):
    with pytest.raises(InputError, match=r"data\.root is not given; it must be the folder with the scans of nifti"):
        open_cohort(toy_config(), "nifti", cache_dir=tmp_path)


def test_shape_model_comes_from_the_file_or_from_phantom_hearts(tmp_path):
    path = write_shapes(tmp_path / "shapes.npz")
    own = open_shape_model(toy_config(model={"shape_model": str(path), "shape_modes": 3}))
    assert own.n_modes == 3
    assert set(own.region_id) == {1, 2}
    phantom = open_shape_model(toy_config(model={"shape_modes": 5}))
    assert phantom.n_modes == 5
    assert set(phantom.region_id) == set(range(1, 8))


def test_one_annotated_volume_is_refused_before_any_training():
    simulated, bounds = (toy_config(segmentation={"arms": arms}) for arms in (["ours_pre"], ["lower_bound"]))
    with pytest.raises(InputError, match=r"data\.labels is 1; it must be at least 2 to simulate from"):
        check_arms(simulated, {"a": 1}, federated=False)
    check_arms(simulated, {"a": 2}, federated=False)
    check_arms(bounds, {"a": 1}, federated=False)


def test_a_run_keeps_the_precision_that_it_began_with(tmp_path, monkeypatch):
    config = toy_config(model={"precision": "auto"})
    monkeypatch.setattr(precision, "choose_precision", lambda _: "bfloat16")
    begun = settle_choices(config)
    assert begun.model.precision == "bfloat16"
    RunFolder(tmp_path / "run", begun)
    monkeypatch.setattr(precision, "choose_precision", lambda _: "float32")
    with pytest.raises(InputError, match=r"model\.precision=bfloat16 \(now float32\)"):
        RunFolder(tmp_path / "run", settle_choices(config))


def test_a_run_keeps_the_phantom_cohort_that_it_began_with(tmp_path, monkeypatch):
    begun = settle_choices(toy_config())
    RunFolder(tmp_path / "run", begun)
    monkeypatch.setattr(inputs, "VERSION", begun.data.phantom_version + 1)
    with pytest.raises(InputError, match=r"data.phantom_version=\d+ \(now \d+\)"):
        RunFolder(tmp_path / "run", settle_choices(toy_config()))
    with pytest.raises(InputError, match=r"phantom_version is .*, which this code makes"):
        settle_choices(begun)
    assert settle_choices(toy_config(data={"root": "/data", "phantom_version": 3})).data.phantom_version == 0
