"""A whole run at toy size on files of a tiny cohort: what it leaves, how it resumes, and using what it learnt."""

import base64
import copy
import dataclasses
import html
import json
import shutil
import types

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.arms import ARMS as ALL_ARMS
from fedsim_tf.arms import list_volumes_arms
from fedsim_tf.config import from_dict, merge
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import lock_file, read_json, write_json
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.metrics import MEASURES
from fedsim_tf.runs import samples as samples_module
from fedsim_tf.runs.finished import open_finished_fold
from fedsim_tf.runs.start import refuse_other_experiment
from fedsim_tf.tools.segment import load_segmenter, open_segmentation
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.segmentation import UNetTraining
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.evaluation.pictures_for_tests import is_drawn, leave_out_pictures, recorded_titles
from tests.runs.toy_cohorts import CUBE, HEART_HU, ball, without_times, write, write_own_cohort, write_shapes
from tests.runs.toy_starts import open_and_run
from tests.training.toy_site import toy_config

LEARNT_SHAPES = ("ours_fix_mat", "ours_pre", "ours_full", "fix_mat_alone", "ours_full_augmented")
ARMS = (
    *("lower_bound", "ours_fix_mat", "ours_pre", "ours_full", "poisson_blend", "fix_mat_alone", "upper_bound"),
    *("random_contrast", "lower_bound_augmented", "ours_full_augmented"),
)
SIMULATED = [arm for arm in ARMS if ALL_ARMS[arm].simulator]
STEPS = {
    "pretraining": 1,
    "gan": 2,
    "semi_supervised": 2,
    "fixed_material/pretraining": 1,
    "fixed_material/gan": 2,
    **{f"segmentation/{arm}/pretrain": 2 for arm in ARMS if arm != "fix_mat_alone"},
    **{f"segmentation/{arm}/finetune": 3 for arm in ARMS if ALL_ARMS[arm].finetuned},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One undisturbed run, with the words above its pictures."""
    root = tmp_path_factory.mktemp("single_site")
    write_own_cohort(root / "data")
    config = toy_config(
        dataset="nifti",
        checkpoint_every=1,
        pretraining={"steps": 1},
        gan={"steps": 2},
        semi={"steps": 2},
        synthesis={"volumes": 2},
        plus={"volumes": 2},
        data={"root": str(root / "data"), "labels": 2},
        model={"shape_model": str(write_shapes(root / "shapes.npz"))},
        segmentation={"arms": ARMS, "pretraining_steps": 2, "finetuning_steps": 3, "rate": 0.05},
    )
    with recorded_titles() as titles:
        metrics = open_and_run(config, root / "run", cache_dir=root / "cache").to_json()
    return types.SimpleNamespace(
        root=root, run=root / "run", fold=root / "run" / "fold_0", config=config, metrics=metrics, titles=titles
    )


@pytest.fixture
def _undrawn(monkeypatch):
    leave_out_pictures(monkeypatch)


def segment_file(fold, arm, **files):
    return open_segmentation(fold, arm, **files).run()


def again(finished):
    return open_and_run(finished.config, finished.run, cache_dir=finished.root / "cache").to_json()


def test_metrics_on_disk_are_those_returned(finished):
    assert json.loads((finished.run / "metrics.json").read_text()) == json.loads(json.dumps(finished.metrics))


def test_metrics_have_every_arm_and_every_test_case(finished):
    (fold,) = finished.metrics["folds"]
    assert set(finished.metrics["summary"]["nifti"]) == set(fold["nifti"]) == set(ARMS)
    for arm in ARMS:
        cases = fold["nifti"][arm]["cases"]
        assert len(cases) == 2  # a fifth of six, rounded up
        assert set(cases) < {f"case_{number}" for number in range(6)}
        means = {name: np.mean([case[name] for case in cases.values()]) for name in MEASURES}
        assert {name: fold["nifti"][arm][name] for name in means} == pytest.approx(means)
        assert finished.metrics["summary"]["nifti"][arm] == pytest.approx({"folds": 1, **means})
        assert 5 < means["iou"] < means["dice"] < 100
        assert 0 < means["surface_mm"] < means["hd95_mm"] < 100


def test_synthetic_hearts_are_held_against_the_real_ones_ct_values(finished):
    (fold,) = finished.metrics["folds"]
    for arm in ARMS:
        assert ("likeness" in fold["nifti"][arm]) == (arm in SIMULATED)
        modes = fold["nifti"][arm].get("likeness", {}).get("shape_modes", {})
        assert set(modes) == ({"learnt", "sampled"} if arm in LEARNT_SHAPES else set())
        assert all(len(weights["mean"]) == len(weights["sd"]) == 4 for weights in modes.values())
    for arm in SIMULATED:
        measured = fold["nifti"][arm]["likeness"]
        assert set(measured["planes"]) == {"axial", "coronal", "sagittal"}
        assert 0 < measured["hearts"]["real"]["pair_dice"] < 100
        assert all(one > 0 for one in measured["differences"]["heart"]["synthetic"]["first"])
        assert 0 <= measured["upper_bound_dice"]["synthetic"] <= 100
        assert measured["upper_bound_dice"]["real"] == fold["nifti"]["upper_bound"]["dice"]
    heart = fold["nifti"]["ours_full"]["likeness"]["tissues"]["heart"]
    novel = fold["nifti"]["ours_full"]["likeness"]["novelty"]
    assert 0 < novel["closest_sample_hu"] <= novel["sample_to_real_hu"]
    assert heart["real_mean_hu"] == pytest.approx(HEART_HU, abs=5)
    assert heart["distance_hu"] >= abs(heart["real_mean_hu"] - heart["synthetic_mean_hu"]) - 1e-3


def test_a_single_sites_run_is_not_gone_on_with_as_a_federated_one(finished):
    refuse_other_experiment(finished.run, federated=False)
    with pytest.raises(InputError, match=r"found a single-site run; expected .* another run folder"):
        refuse_other_experiment(finished.run, federated=True)


def test_arms_are_trained_on_different_volumes(finished):
    """Told by the losses, as all arms draw the same order and augmentation."""
    folder = finished.fold / "losses" / "segmentation"
    losses = {tuple(file.read_text() for file in sorted((folder / arm).glob("*.csv"))) for arm in ARMS}
    assert len(losses) == len(ARMS)


def test_metrics_say_what_ran_on_what(finished):
    facts = finished.metrics["facts"]
    assert facts["data"] == f"nifti in {finished.root / 'data'}"
    assert facts["labelled"] == 2
    assert facts["folds"] == 1
    assert facts["split"] == {"nifti": {"train": 3, "validation": 1, "test": 2}}
    assert facts["commit"]
    assert facts["preset"] == "demo"
    assert facts["vgg"] == "small, random"
    assert facts["volumes"] == "32^3 voxels"
    assert facts["finished"].startswith("20")


def test_metrics_have_every_stage_with_its_steps(finished):
    stages = finished.metrics["stages"]
    assert {name: record["steps"] for name, record in stages.items()} == {
        f"fold_0/{name}": steps for name, steps in STEPS.items()
    }
    assert all(record["losses"] for record in stages.values())


def test_pictures_are_drawn_and_say_which_data_they_show(finished):
    pictures = {path.name: path for path in finished.fold.joinpath("pictures").glob("*.png")}
    ours = {f"{kind}_{arm}.png" for kind in ("samples", "hearts", "likeness") for arm in list_volumes_arms(ARMS)}
    assert set(pictures) >= ours | {"segmentations.png", "losses.png"}
    for name, path in pictures.items():
        assert is_drawn(path), name
        if name in finished.titles:
            assert f"nifti in {finished.root / 'data'}, fold 0" in finished.titles[name][0] or name == "losses.png"
            assert f"nifti in {finished.root / 'data'}" in finished.titles[name][0]
    assert finished.titles["segmentations.png"][1:] == ["test volume", *(ALL_ARMS[arm].title for arm in ARMS)]
    assert set(finished.titles["losses.png"][1:]) == set(STEPS)


def test_report_shows_scores_and_pictures_that_exist(finished):
    page = html.unescape((finished.run / "report.html").read_text(encoding="utf-8"))
    for row in finished.metrics["summary"]["nifti"].values():
        assert f"{row['dice']:.2f}" in page
        assert f"{row['iou']:.2f}" in page
    for file in finished.run.rglob("*.png"):
        assert base64.b64encode(file.read_bytes()).decode() in page, file
    assert page.count('<div class="viewer"') == 2 + 2 * len(list_volumes_arms(ARMS))  # test patients, and of each arm
    names = finished.metrics["folds"][0]["nifti"]["ours_full"]["cases"]
    assert all(f"<h3>{name}</h3>" in page for name in names)


def test_no_folder_is_left_empty(finished):
    assert [path for path in finished.run.rglob("*") if path.is_dir() and not any(path.iterdir())] == []


@pytest.mark.parametrize("arm", list_volumes_arms(ARMS))
def test_samples_are_nifti_in_hu_centred_and_as_large_as_the_training_volumes(finished, arm):
    folder = finished.fold / "samples" / arm
    assert sorted(path.name for path in folder.glob("*.nii.gz")) == [
        f"synthetic_{number:03d}_{kind}.nii.gz" for number in range(2) for kind in ("image", "label")
    ]
    for kind in ("image", "label"):
        image = sitk.ReadImage(str(folder / f"synthetic_000_{kind}.nii.gz"))
        assert image.GetSize() == CUBE
        np.testing.assert_allclose(image.GetSpacing(), 3.0)
        centre = image.TransformContinuousIndexToPhysicalPoint([15.5] * 3)
        np.testing.assert_allclose(centre, 0.0, atol=1e-4)
        values = sitk.GetArrayFromImage(image)
        if kind == "label":
            assert set(np.unique(values)) == {0, 1}
        else:
            assert -1000 <= values.min() < values.max() <= 1000


@pytest.mark.parametrize("arm", ["ours_pre", "ours_full"])
def test_an_arms_generator_draws_the_arms_volumes_and_knows_its_score(finished, arm):
    folder = finished.fold / "generators" / arm
    generator = load_generator(folder)
    for number, volume in enumerate(generator.sample(2, seed=finished.config.of_fold(0).seed)):
        for kind in ("image", "label"):
            file = finished.fold / "samples" / arm / f"synthetic_{number:03d}_{kind}.nii.gz"
            np.testing.assert_allclose(getattr(volume, kind).array, sitk.GetArrayFromImage(sitk.ReadImage(str(file))))
    (fold,) = finished.metrics["folds"]
    assert generator.card.scores == pytest.approx({name: fold["nifti"][arm][name] for name in MEASURES})
    assert generator.card.tested == 2
    assert (generator.card.annotated, generator.card.unannotated) == (2, 2 if arm == "ours_full" else 0)
    content = b"".join(file.read_bytes() for file in folder.iterdir())
    assert not any(name in content for name in (b"case_", str(finished.root).encode()))


def test_arms_that_learn_no_material_have_no_generator(finished):
    assert {path.name for path in finished.fold.glob("generators/*")} == {"ours_pre", "ours_full"}


@pytest.mark.usefixtures("_undrawn")
def test_the_same_call_again_repeats_no_stage(finished, monkeypatch):
    """As if it had been stopped between the fold's last stage and its scores."""
    (finished.fold / "scores.json").unlink()

    def files():
        kept = [
            path
            for name in ("checkpoints", "generators", "losses", "samples", "stages")
            for path in (finished.fold / name).rglob("*")
        ]
        return {path: path.stat().st_mtime_ns for path in kept if path.is_file()}

    def refused(*_, **__):
        raise AssertionError("a finished stage was run again")

    for kind, method in (
        (GeneratorPretraining, "shared_gradients"),
        (EnhancementPretraining, "step"),
        (SemiSupervised, "shared_gradients"),
        (UNetTraining, "step"),
        (samples_module, "sample_volumes"),
    ):
        monkeypatch.setattr(kind, method, refused)
    before = files()
    assert len(before) > 30
    assert without_times(again(finished)) == without_times(finished.metrics)
    assert files() == before


def test_a_finished_fold_is_not_even_opened(finished, monkeypatch):
    """Its scores are read back, so that a run of many folds goes on at once where it stopped."""

    def refused(*_, **__):
        raise AssertionError("a finished fold was opened again")

    monkeypatch.setattr("fedsim_tf.runs.start.open_fold", refused)
    assert without_times(again(finished)) == without_times(finished.metrics)


def test_a_fold_is_held_while_it_is_made(finished, tmp_path, monkeypatch):
    """A second process, started by mistake or by a queue, would spoil the first one's checkpoints."""
    lock = tmp_path / "run" / "fold_0" / ".lock"

    def run_single_site_fold(*_, **__):
        assert lock_file(lock) is None
        raise KeyboardInterrupt

    monkeypatch.setattr("fedsim_tf.runs.single_site.run_single_site_fold", run_single_site_fold)
    with pytest.raises(KeyboardInterrupt):
        open_and_run(finished.config, tmp_path / "run", cache_dir=finished.root / "cache")
    with lock_file(lock) as free:
        assert free is not None


@pytest.mark.usefixtures("_undrawn")
def test_a_run_killed_twice_ends_with_the_numbers_of_an_undisturbed_one(finished, monkeypatch):
    """In a shared stage's second step and in an arm's last; other arms, left out here, have no influence either."""
    arm = "ours_full"
    config = dataclasses.replace(
        finished.config, segmentation=dataclasses.replace(finished.config.segmentation, arms=(arm,))
    )
    last = lambda self, step: self.seeds.stage == "finetune" and step == 2  # noqa: E731
    for kind, method, due in (
        (SemiSupervised, "shared_gradients", lambda self, step: step == 1),
        (UNetTraining, "step", last),
    ):
        original = getattr(kind, method)

        def killed(self, step, rng, original=original, due=due):
            if due(self, step):
                raise KeyboardInterrupt
            return original(self, step, rng)

        with monkeypatch.context() as patch:
            patch.setattr(kind, method, killed)
            with pytest.raises(KeyboardInterrupt):
                open_and_run(config, finished.root / "killed", cache_dir=finished.root / "cache")
        assert not (finished.root / "killed" / "metrics.json").exists()
    metrics = open_and_run(config, finished.root / "killed", cache_dir=finished.root / "cache").to_json()
    undisturbed = copy.deepcopy(finished.metrics["folds"][0]["nifti"][arm])
    del undisturbed["likeness"]["upper_bound_dice"]  # the network that gives it is left out here
    assert metrics["folds"] == [{"nifti": {arm: undisturbed}}]
    undisturbed = without_times(finished.metrics)["stages"]
    stages = without_times(metrics)["stages"]
    assert len(stages) == 5
    assert stages == {name: undisturbed[name] for name in stages}


def test_another_configuration_is_refused_in_the_same_folder(finished):
    config = toy_config(dataset="nifti", data={"root": str(finished.root / "data"), "labels": 2}, seed=3)
    with pytest.raises(InputError, match=r"found a run with .*seed=0 \(now 3\)"):
        open_and_run(config, finished.run, cache_dir=finished.root / "cache")


def test_a_file_is_segmented_as_well_as_the_run_says(finished, tmp_path):
    """A test volume of the network's own size needs no interpolation: Dice is that of metrics.json, to the digit."""
    cases = finished.metrics["folds"][0]["nifti"]["upper_bound"]["cases"]
    (name, *_) = [name for name in cases if int(name[-1]) % 3 != 2]
    files = {kind: finished.root / "data" / f"{kind}s" / f"{name}.nii.gz" for kind in ("image", "label")}
    found = segment_file(finished.fold, "upper_bound", **files, output=tmp_path / "heart.nii.gz")
    assert found.dice == pytest.approx(cases[name]["dice"], abs=1e-9)
    mask, label = (sitk.GetArrayFromImage(sitk.ReadImage(str(p))) for p in (tmp_path / "heart.nii.gz", files["label"]))
    np.testing.assert_array_equal(mask, found.mask.array)
    assert 100 * 2 * np.sum(mask * label) / (mask.sum() + label.sum()) == pytest.approx(found.dice)


def test_a_loaded_network_finds_what_the_command_finds(finished, tmp_path):
    path = finished.root / "data" / "images" / "case_2.nii.gz"  # of another size than the network's
    found = segment_file(finished.fold, "upper_bound", image=path, output=tmp_path / "heart.nii.gz")
    mask = load_segmenter(finished.fold, "upper_bound")(read_volume(path))
    np.testing.assert_array_equal(mask.array, found.mask.array)
    assert mask.array.any()
    assert mask.geometry == found.mask.geometry


def test_a_mask_lies_exactly_where_its_image_lies(finished, tmp_path):
    """Axes permuted and tilted, edges of different lengths, an origin of its own."""
    image, mask = ball(50, (18, 22, 26))
    angle = np.deg2rad(10)
    direction = (0, np.cos(angle), -np.sin(angle), 1, 0, 0, 0, np.sin(angle), np.cos(angle))
    path = write(tmp_path / "ct.nii.gz", image, origin=(5.0, -70.0, 300.0), direction=direction)
    picture = tmp_path / "look.png"
    output = tmp_path / "deep" / "heart.nii"
    found = segment_file(finished.fold, "lower_bound", image=path, output=output, picture=picture)
    assert found.dice is None
    ct, heart = sitk.ReadImage(str(path)), sitk.ReadImage(str(output))
    assert heart.GetSize() == ct.GetSize() == (26, 22, 18)
    for name in ("GetOrigin", "GetSpacing", "GetDirection"):
        np.testing.assert_allclose(getattr(heart, name)(), getattr(ct, name)(), atol=1e-5, err_msg=name)
    assert set(np.unique(sitk.GetArrayFromImage(heart))) == {0, 1}
    assert np.mean(sitk.GetArrayFromImage(heart) == mask) > 0.8
    assert is_drawn(picture)


def one_line(action, *fragments):
    with pytest.raises(InputError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert str(fragment) in message, message


def test_segmenting_refuses_what_is_not_there(finished, tmp_path):
    image = finished.root / "data" / "images" / "case_0.nii.gz"
    output = tmp_path / "heart.nii.gz"
    one_line(lambda: open_finished_fold(finished.fold).last_stage_of("ours_best"), "ours_best", *ARMS)
    one_line(lambda: open_finished_fold(tmp_path), tmp_path, "config.json")
    one_line(lambda: open_finished_fold(finished.run), "a fold's folder", finished.fold)
    one_line(lambda: open_finished_fold(finished.root / "no"), finished.root / "no")
    none = tmp_path / "no.nii.gz"
    one_line(lambda: segment_file(finished.fold, "ours_full", image=none, output=output), none, "no such file")
    other = finished.root / "data" / "labels" / "case_2.nii.gz"
    one_line(
        lambda: segment_file(finished.fold, "ours_full", image=image, output=output, label=other),
        other,
        "28 x 24 x 20 voxels",
        "32 x 32 x 32 voxels",
    )
    assert not output.exists()


def test_a_true_label_may_be_of_any_site(finished, tmp_path):
    """A network's own data set says nothing of where the label was drawn; a federated site's is not even its own."""
    image, file = (finished.root / "data" / kind / "case_0.nii.gz" for kind in ("images", "labels"))
    truth = sitk.ReadImage(str(file))
    array = sitk.GetArrayFromImage(truth)
    mmwhs = np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int32)
    fold = tmp_path / "fold_0"
    shutil.copytree(finished.fold, fold)
    config = read_json(fold / "config.json")
    write_json(fold / "config.json", config | {"dataset": "ct34lc"})  # there, other values are background
    with_airways = np.where((array == 0) & (np.arange(array.shape[-1]) < 2), 14, array)
    scores = []
    for number, values in enumerate((array, mmwhs[array], 255 * (array > 0), with_airways)):
        label = sitk.GetImageFromArray(values.astype(np.int32))
        label.CopyInformation(truth)
        sitk.WriteImage(label, str(tmp_path / f"{number}.nii.gz"))
        given = {"image": image, "output": tmp_path / "mask.nii.gz", "label": tmp_path / f"{number}.nii.gz"}
        scores.append(segment_file(fold, "ours_full", **given).dice)
    assert scores[0] > 0
    assert scores == [scores[0]] * 4
    given["label"] = tmp_path / "empty.nii.gz"
    empty = sitk.GetImageFromArray(np.zeros(array.shape, np.uint8))
    empty.CopyInformation(truth)
    sitk.WriteImage(empty, str(given["label"]))
    one_line(lambda: segment_file(fold, "ours_full", **given), given["label"], "no voxel of any region")
    given["label"] = image
    one_line(lambda: segment_file(fold, "ours_full", **given), image, "different values, as of a CT")


def test_segmenting_never_writes_over_what_it_reads(finished, tmp_path):
    image, label, mask = (tmp_path / name for name in ("ct.nii.gz", "label.nii.gz", "mask.nii.gz"))
    for path, kind in ((image, "images"), (label, "labels")):
        path.write_bytes((finished.root / "data" / kind / "case_0.nii.gz").read_bytes())
    before = image.read_bytes(), label.read_bytes()
    (tmp_path / "link.nii.gz").symlink_to(image)
    for output in (image, label, tmp_path / "link.nii.gz", tmp_path / "deep" / ".." / "ct.nii.gz"):
        with pytest.raises(InputError, match="given as another one too"):
            segment_file(finished.fold, "ours_full", image=image, label=label, output=output)
    with pytest.raises(InputError, match="given as another one too"):
        segment_file(finished.fold, "ours_full", image=image, output=mask, picture=mask)
    assert (image.read_bytes(), label.read_bytes()) == before
    assert not mask.exists()


def test_a_field_of_view_that_the_network_has_not_seen_is_warned_of(finished, tmp_path, caplog):
    caplog.set_level("WARNING")
    source = sitk.ReadImage(str(finished.root / "data" / "images" / "case_0.nii.gz"))
    for name, size_xyz in (("as_is", (32, 32, 32)), ("longer", (32, 32, 96))):
        whole = sitk.Resample(
            source, size_xyz, sitk.Transform(), sitk.sitkLinear, source.GetOrigin(), source.GetSpacing()
        )
        sitk.WriteImage(whole, str(tmp_path / f"{name}.nii.gz"))
        segment_file(
            finished.fold, "lower_bound", image=tmp_path / f"{name}.nii.gz", output=tmp_path / f"{name}_mask.nii.gz"
        )
    warned = [message for message in caplog.messages if "unless it is cropped or padded to that" in message]
    assert len(warned) == 1
    assert "longer.nii.gz shows" in warned[0]


def test_an_arm_that_was_not_finished_cannot_be_used(finished, tmp_path):
    fold = tmp_path / "fold_0"
    for name in ("config.json", "stages/segmentation/lower_bound/finetune.json"):
        fold.joinpath(name).parent.mkdir(parents=True, exist_ok=True)
        fold.joinpath(name).write_bytes(finished.fold.joinpath(name).read_bytes())
    one_line(lambda: open_finished_fold(fold).last_stage_of("ours_full"), "ours_full", "lower_bound")


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"data": {"root": "/no/such/folder"}}, ["data.root is /no/such/folder"]),
        ({"data": {"root": ""}}, ["data.root", "nifti"]),
        ({"data": {"labels": 30}}, ["data.labels", "30", "at most 3"]),
        ({"data": {"labels": 0}}, ["data.labels", "6 by default", "at most 3"]),
        ({"data": {"window_low_hu": -200.0}}, ["data.window_low_hu", "-200 to 1000", "-850 to 900"]),
        ({"model": {"shape_model": "/no/shapes.npz"}}, ["/no/shapes.npz"]),
        ({"model": {"shape_modes": 30}}, ["30", "1 to 11"]),
    ],
)
def test_bad_input_ends_in_one_line(finished, tmp_path, changes, fragments):
    config = from_dict(merge(finished.config.to_dict(), changes))
    one_line(lambda: open_and_run(config, tmp_path / "run", cache_dir=finished.root / "cache"), *fragments)


def test_a_label_on_another_grid_is_not_scored_against(finished, tmp_path):
    image, label = (finished.root / "data" / kind / "case_0.nii.gz" for kind in ("images", "labels"))
    flipped = sitk.ReadImage(str(label))
    flipped.SetDirection((-1.0, 0, 0, 0, 1, 0, 0, 0, 1))
    other = tmp_path / "label.nii.gz"
    sitk.WriteImage(flipped, str(other))
    output = tmp_path / "heart.nii.gz"
    one_line(
        lambda: segment_file(finished.fold, "ours_full", image=image, output=output, label=other), other, "corners lie"
    )
