"""Exported networks: what they compute, that nothing of fedsim_tf is needed for it, and that their cards are true."""

import contextlib
import functools
import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import tensorflow as tf
from absl import flags

from fedsim_tf.data.crops import Crop
from fedsim_tf.data.images import volume_to_image
from fedsim_tf.data.preprocess import prepare, resample_to_original
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError
from fedsim_tf.files import partial_path
from fedsim_tf.localization.finder import HeartFinder, write_finder
from fedsim_tf.localization.scouts import make_scout
from fedsim_tf.models import built
from fedsim_tf.models.unet3d import UNet3D
from fedsim_tf.records.fold_data import DATA, LABELLED, TEST, UNLABELLED, UPPER_BOUND_PART, VALIDATION, FoldData
from fedsim_tf.records.fold_scores import SCORES, CaseScores, FoldScores
from fedsim_tf.records.network_card import NETWORK_FILES, LearntFrom, NetworkCard
from fedsim_tf.records.versioned import read_record, write_record
from fedsim_tf.runs.same_data import FINDER
from fedsim_tf.tools.export import open_export
from fedsim_tf.tools.segment import load_segmenter
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import OpenStage
from fedsim_tf.volume import Case
from tests.evaluation.records_for_tests import scores
from tests.experiments.commands import command_flags, run_command
from tests.localization.chests import make_chest
from tests.tools.test_segment import HU, write_ct
from tests.training.toy_site import toy_config

FORMATS = ("saved_model", "onnx")
SIZE = 32
COUNTS = {LABELLED: 4, UPPER_BOUND_PART: 12, VALIDATION: 3, TEST: 5, UNLABELLED: 8}
CASES = {f"{TEST}_{k}": CaseScores(90.0, 80.0, 5.0, 1.0, 2.0) for k in range(5)}
EDGE_MM = 190.0


@contextlib.contextmanager
def real_unet():
    """Put the U-Net back that other tests of tools have a small one for, with two levels of its four."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsim_tf.models.built.UNet3D", UNet3D)
        patch.setattr("fedsim_tf.models.unet3d.LEVELS", 2)
        yield


def write_fold(path, *, arm="ours_full", spread=0.0, **overrides):
    """Write a fold with one finished arm, whose network has its first weights, or random ones around them."""
    config = toy_config(**overrides)
    run = RunFolder(path, config)
    network, rng = built.unet(config.model, seed=1), np.random.default_rng(0)
    for variable in network.trainable_variables:
        variable.assign_add(spread * rng.standard_normal(variable.shape).astype(np.float32))
    stage = OpenStage(run, f"segmentation/{arm}/finetune", objects={"best": network})
    stage.done = 3
    stage.save()
    stage.finish()
    parts = {part: {f"{part}_{k}": () for k in range(count)} for part, count in COUNTS.items()}
    write_record(path / DATA, FoldData(shape_model="", field_of_view_mm=(96.0, 96.0, 80.0), parts=parts))
    regions = {"LV": 91.5, "RV": 82.5} if config.model.by_region else None
    write_record(path / SCORES, FoldScores({config.dataset: {arm: scores(90.0, cases=CASES, regions=regions)}}))
    return path


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Folds of the heart and by region, of which the latter has learnt in bfloat16, and one with a small network."""
    root = tmp_path_factory.mktemp("folds")
    with real_unet():
        heart = write_fold(root / "heart", spread=0.1)
        by_region = {"labels": "regions", "precision": "bfloat16"}
        regions = write_fold(root / "regions", spread=0.1, model=by_region)
    return {"heart": heart, "regions": regions, "small": write_fold(root / "small")}


@pytest.fixture(scope="module")
def exported(folds, tmp_path_factory):
    """Return a function that gives the folder of an exported network."""

    @functools.cache
    def export(kind, file_format):
        if file_format == "onnx" and importlib.util.find_spec("onnxruntime") is None:
            pytest.skip("onnxruntime is not installed: pip install '.[onnx]'")
        output = tmp_path_factory.mktemp("exported") / "network"
        with real_unet() if kind != "small" else contextlib.nullcontext():
            open_export(folds[kind], "ours_full", output=output, file_format=file_format).run()
        return output

    return export


def network_in_float32(fold):
    """Return the fold's network as a run in float32 would have it."""
    with real_unet():
        network = built.unet(toy_config(model={"labels": fold.name}).model, seed=2)
    state = fold / "checkpoints/segmentation/ours_full/finetune/step-3/state"
    tf.train.Checkpoint(best=network).read(str(state)).expect_partial()
    return network


class _NoLibrary:
    """Refuses to find fedsim_tf."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "fedsim_tf":
            raise ImportError(f"{name} is out of reach")


@contextlib.contextmanager
def without_fedsim_tf():
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.partition(".")[0] == "fedsim_tf"]:
            patch.delitem(sys.modules, name)
        patch.setattr(sys, "meta_path", [_NoLibrary(), *sys.meta_path])
        yield


def call(folder, image):
    """Return logits and masks of an exported network, by nothing but the program that it is for."""
    with without_fedsim_tf():
        return call_here(folder, image)


def call_here(folder, image):
    if (folder / "network.onnx").exists():
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "network.onnx")
        return session.run(["logits", "mask"], {"image": image})
    found = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"](image=tf.constant(image))
    return found["logits"].numpy(), found["mask"].numpy()


@pytest.mark.parametrize(
    ("kind", "file_format"), [("heart", "saved_model"), ("regions", "saved_model"), ("regions", "onnx")]
)
def test_a_network_computes_the_same_where_fedsim_tf_is_not_installed(kind, file_format, folds, exported, rng):
    images = rng.uniform(-1, 1, (2, SIZE, SIZE, SIZE, 1)).astype(np.float32)
    network, folder = network_in_float32(folds[kind]), exported(kind, file_format)
    for batch in (images, images[1:]):
        expected, (logits, masks) = network(batch).numpy(), call(folder, batch)
        assert np.abs(expected).max() > 1.0
        # ONNX Runtime's convolutions add in another order.
        np.testing.assert_allclose(logits, expected, atol=1e-5 if file_format == "saved_model" else 1e-4)
        wanted = expected[..., 0] > 0 if kind == "heart" else expected.argmax(-1)
        assert np.mean(masks != wanted) < 1e-4  # ties
        assert masks.dtype == np.uint8
        assert len(np.unique(masks)) > (1 if kind == "heart" else 2)


def test_onnx_has_the_runs_edges_any_number_of_volumes_and_little_but_weights(folds, exported):
    """A constant map of 32^3 voxels and 4 channels alone would be half a megabyte."""
    file = exported("regions", "onnx") / "network.onnx"
    import onnxruntime

    given = onnxruntime.InferenceSession(file).get_inputs()[0]
    assert (given.name, given.shape) == ("image", ["volumes", SIZE, SIZE, SIZE, 1])
    weights = 4 * network_in_float32(folds["regions"]).count_params()
    assert weights < file.stat().st_size < weights + 200_000


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_folder_has_the_network_its_card_and_checksums(file_format, exported):
    folder = exported("small", file_format)
    network = {"saved_model"} if file_format == "saved_model" else {"network.onnx"}
    assert {path.name for path in folder.iterdir()} == {"network.json", "card.md", "SHA256SUMS", *network}
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folder, check=True)
    listed = {line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert listed == files - {"SHA256SUMS"}
    assert [path.name for path in folder.parent.iterdir()] == ["network"]  # nothing half written


def test_a_card_says_what_the_run_has_noted(exported):
    card = read_record(exported("small", "saved_model") / "network.json", NetworkCard)
    assert (card.arm, card.data_set, card.phantom, card.format) == ("ours_full", "ct34lc", True, "saved_model")
    assert card.labels == {0: "background", 1: "Heart"}
    assert card.learnt_from == LearntFrom(annotated=4, synthetic=2, simulated_from=(4, 8), validation=3)
    assert card.preparation.fields_of_view_mm == ((96.0, 96.0, 80.0),)
    assert card.scores == pytest.approx({"dice": 90, "iou": 45, "hd95_mm": 30, "surface_mm": 22.5, "volume_error": 18})
    assert card.tested == 5
    page = (exported("small", "saved_model") / "card.md").read_text()
    for words in (
        "Dice 90.0 % and HD95 30.0 mm of the heart, mean over 5 test volumes",
        "2 synthetic volumes, which were learnt from 4 annotated and 8 unannotated volumes, then 4 annotated volumes",
        "96 x 96 x 80 mm",
        "clipped to -1000 to 1000 HU",
        "(LPS in DICOM)",
        "Diagnosis, treatment or any other decision",
        "(n, 32, 32, 32, 1)",
        "| 1 | Heart |",
    ):
        assert words in page
    assert not any(name in page for part in COUNTS for name in (f"{part}_0", f"{part}_1"))


def test_a_card_by_region_lists_the_regions_in_the_order_of_channels(exported):
    folder = exported("regions", "saved_model")
    card = read_record(folder / "network.json", NetworkCard)
    assert list(card.labels) == list(range(8))
    assert card.labels[5] == "Myocardium"
    page = (folder / "card.md").read_text()
    assert "softmax" in page
    assert "Dice by region: LV 91.5, RV 82.5 %" in page


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        ("lower_bound", LearntFrom(annotated=4, validation=3)),
        ("upper_bound", LearntFrom(annotated=12, validation=3)),
        ("ours_pre", LearntFrom(annotated=4, synthetic=2, simulated_from=(4, 0), validation=3)),
        ("ours_plus", LearntFrom(annotated=4, copies=60, synthetic=60, simulated_from=(4, 8), validation=3)),
        ("direct_fl", LearntFrom(annotated=4, validation=3, sites=("ct20", "ct34lc", "ct34mc"))),
    ],
)
def test_what_an_arm_has_learnt_from_is_the_arms_own(arm, expected, tmp_path):
    fold = write_fold(tmp_path / "fold_0" / "sites" / "ct20", arm=arm, segmentation={"arms": (arm,)})
    card = open_export(fold, arm, output=tmp_path / "out", file_format="saved_model").card
    assert card.learnt_from == expected
    assert card.data_set == "ct20"
    assert card.scores is None  # those of another site
    assert not (tmp_path / "out").exists()


def example(folder):
    """Return the names that the program on a network's card defines, run in the network's folder."""
    (text,) = re.findall(r"(?s)```python\n(.*?)```", (folder / "card.md").read_text())
    names = {"__name__": "example"}
    with pytest.MonkeyPatch.context() as patch, without_fedsim_tf():
        patch.chdir(folder)
        exec(compile(text, "card.md", "exec"), names)
    return names


def overlap(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_cards_program_finds_what_the_run_finds(file_format, folds, exported, tmp_path):
    """On a CT whose axes are turned, finer than the cube along one axis and coarser along another."""
    array = np.repeat(HU[:, :, 4:], 2, axis=0).transpose(2, 0, 1)
    path = write_ct(tmp_path / "ct.nii.gz", array, direction=(0, 0, -1, 1, 0, 0, 0, 1, 0))
    names, ct = example(exported("small", file_format)), sitk.ReadImage(str(path))
    prepared = prepare(Case("ct", read_volume(path)), SIZE)
    cube = names["prepare"](ct)
    np.testing.assert_allclose(sitk.GetArrayFromImage(cube), prepared.image, atol=0.01)
    np.testing.assert_allclose(cube.GetOrigin(), prepared.geometry.origin_mm, atol=1e-3)
    found, expected = names["segment"](ct), load_segmenter(folds["small"])(read_volume(path)).array > 0
    assert found.GetSize() == ct.GetSize()
    assert 0.05 < expected.mean() < 0.5
    assert overlap(sitk.GetArrayFromImage(found) > 0, expected) > 0.99


def test_the_program_for_crops_takes_the_cube_around_the_heart(tmp_path):
    fold, chest = write_fold(tmp_path / "fold", data={"crop_mm": "auto"}), make_chest(10)
    write_finder(HeartFinder((make_scout(chest),), EDGE_MM), fold / FINDER)
    segment = load_segmenter(fold)
    segment.export(tmp_path / "network")
    card = read_record(tmp_path / "network" / "network.json", NetworkCard)
    assert card.preparation.crop_mm == EDGE_MM
    ct = volume_to_image(chest.image.with_array(chest.image.array.astype(np.float32)))
    centre_mm = np.add(ct.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in ct.GetSize()]), (20, -60, 9))
    prepared = prepare(Case("chest", chest.image), SIZE, crop=Crop.cube(tuple(centre_mm), EDGE_MM))
    assert prepared.image.min() == -1.0  # reaches beyond the CT
    names = example(tmp_path / "network")
    np.testing.assert_allclose(sitk.GetArrayFromImage(names["prepare"](ct, centre_mm)), prepared.image, atol=0.02)
    found = sitk.GetArrayFromImage(names["segment"](ct, centre_mm))
    expected = resample_to_original(segment.segment(prepared.image), prepared, nearest=True).array > 0
    assert 0.02 < expected.mean() < 0.6
    assert overlap(found > 0, expected) > 0.99


def test_the_command_knows_all_formats():
    with command_flags("export", "--fold_dir=a", "--output=b"):
        assert flags.FLAGS["format"].parser.enum_values == list(NETWORK_FILES)


def test_the_command_exports_and_says_what(folds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = (f"--fold_dir={folds['small']}", "--output=network")
    dry = run_command("export", *given, "--dry_run")
    assert (dry.status, list(tmp_path.iterdir())) == (0, []), dry.stderr
    found = run_command("export", *given)
    assert found.status == 0, found.stderr
    assert "network: the network of ours_full; card.md says" in found.stdout
    assert (tmp_path / "network" / "saved_model" / "saved_model.pb").is_file()
    assert "network: found a folder with other files" in run_command("export", *given).stderr


def refused(words, **given):
    with pytest.raises(InputError, match=words) as caught:
        open_export(**given)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_exported_is_refused(folds, tmp_path, monkeypatch):
    given = {"fold_dir": folds["small"], "arm": "ours_full", "output": tmp_path / "out", "file_format": "saved_model"}
    refused("format is hdf5; it must be one of saved_model, onnx", **{**given, "file_format": "hdf5"})
    refused("arm is ours_pre; it must be one that .* has finished: ours_full", **{**given, "arm": "ours_pre"})
    refused(r"/small: found a folder with other files", **{**given, "output": folds["small"]})
    refused(r"config\.json: found a file", **{**given, "output": folds["small"] / "config.json"})
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    refused(r"format is onnx; .* onnx and tf2onnx can be imported: pip install", **{**given, "file_format": "onnx"})
    assert not (tmp_path / "out").exists()


def test_the_current_folder_is_taken_and_what_a_killed_process_left_there_is_not(folds, tmp_path, monkeypatch):
    output = tmp_path / "here"
    output.mkdir()
    monkeypatch.chdir(output)
    left = partial_path(output)
    left.mkdir()
    (left / "older").touch()
    open_export(folds["small"], "ours_full", output=".", file_format="saved_model").run()
    assert {path.name for path in output.iterdir()} == {"network.json", "card.md", "SHA256SUMS", "saved_model"}


def test_an_export_that_fails_leaves_nothing(folds, tmp_path, monkeypatch):
    start = open_export(folds["small"], "ours_full", output=tmp_path / "out", file_format="saved_model")
    monkeypatch.setattr("fedsim_tf.tools.export.write_record", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        start.run()
    assert list(tmp_path.iterdir()) == []
