"""The folder of a generator: what is in it, what is not, and what is refused."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.generator.folder import is_generator, note_scores, read_generator, write_generator
from fedsim_tf.generator.sampler import load_generator
from fedsim_tf.metrics import MEASURES, Agreement
from fedsim_tf.records.fold_scores import ArmScores
from fedsim_tf.synthesis import sample_volumes
from fedsim_tf.training.batch_norm import settle_statistics, training_slices
from tests.generator.toy_generator import SUBJECTS, make_learner, sign
from tests.training.toy_site import toy_site

AGREEMENT = Agreement(dice=81.25, iou=70.0, hd95_mm=4.5, surface_mm=1.5, volume_error=9.0)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copy")


def test_a_generator_without_its_run_draws_the_volumes_that_the_run_draws(folder):
    """Those of the run's own networks, with the statistics that these have while they sample and at no other time."""
    learner = make_learner()
    distribution = learner.latent_statistics(with_unlabelled=True).distribution()
    with settle_statistics(learner.model.enhancer, training_slices(learner, with_unlabelled=True)):
        drawn = list(sample_volumes(learner.model, distribution, 2, seed=7))
    for volume, expected in zip(load_generator(folder).sample(2, seed=7), drawn, strict=True):
        np.testing.assert_array_equal(volume.label.array, expected.label)
        np.testing.assert_allclose(volume.image.array, 1000.0 * expected.image, atol=0.6)
        np.testing.assert_allclose(volume.coarse_hu, 1000.0 * expected.coarse, atol=1e-2)
        assert volume.image.field_of_view_mm == pytest.approx(learner.data.field_of_view_mm)
    assert np.std(drawn[0].image) > 0.01


def test_one_that_is_written_anew_is_none_until_it_is_whole(copy, monkeypatch):
    """An interruption would otherwise leave arrays of two generators under the checksums of the first."""
    files = read_generator(copy)
    monkeypatch.setattr("fedsim_tf.generator.folder.write_npz", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_generator(
            copy, files.card, shape_model=files.shape_model, mean=files.mean, root=files.root, weights=files.weights
        )
    assert not is_generator(copy)


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_nothing_in_it_is_one_patients(folder):
    learner = make_learner()
    latents = np.concatenate([learner.labelled_latents.table, learner.unlabelled_latents.table])
    names = [*toy_site().fully_labelled.identities, *toy_site().test.identities, *SUBJECTS, "1" * 64]
    for file in folder.iterdir():
        content = file.read_bytes()
        assert not any(name.encode() in content for name in names), file
        if file.suffix == ".npz":
            with np.load(file) as arrays:  # without pickle
                for name in arrays.files:
                    values = np.asarray(arrays[name])
                    assert values.dtype.kind in "fiu" or not values.size
                    if values.ndim == 2 and values.shape[1] == latents.shape[1]:
                        assert not any(np.allclose(row, latent) for row in values for latent in latents)


def test_the_card_says_what_it_was_made_from_and_what_it_is_not_for(folder):
    card = read_json(folder / "generator.json")
    assert (card["annotated"], card["unannotated"], card["data_set"], card["phantom"]) == (3, 2, "toy", True)
    assert set(card["settings"]) == {"model", "data"}
    assert not {"shape_model", "vgg_weights"} & set(card["settings"]["model"])  # names of files
    page = (folder / "card.md").read_text()
    assert "3 annotated and 2 unannotated volumes of toy (phantoms)" in page
    assert "Scored: not known" in page
    assert "Diagnosis" in page


def test_checksums_are_those_of_coreutils(folder):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == len(list(folder.iterdir())) - 1


def test_scores_are_noted_in_the_card_and_the_folder_stays_whole(copy):
    before = read_generator(copy)
    note_scores(copy, ArmScores(**dataclasses.asdict(AGREEMENT), cases={"anna": AGREEMENT, "bert": AGREEMENT}))
    card = read_generator(copy).card
    assert {name: card.scores[name] for name in MEASURES} == dataclasses.asdict(AGREEMENT)
    assert card.tested == 2
    assert "Dice 81.2 % and HD95 4.5 mm on 2 test volumes" in (copy / "card.md").read_text()
    assert not any(b"anna" in file.read_bytes() for file in copy.iterdir())
    assert read_generator(copy).digest == before.digest  # its volumes are the same


def test_a_generator_is_one_when_its_last_file_is_written(copy):
    (copy / "SHA256SUMS").unlink()
    assert not is_generator(copy)
    with pytest.raises(InputError, match="found no SHA256SUMS; expected a generator that was written to the end"):
        read_generator(copy)


def refused(path, words):
    with pytest.raises(InputError, match=words) as caught:
        read_generator(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["shape.npz", "enhancement.npz", "latents.npz", "generator.json", "card.md"])
def test_damaged_and_missing_files_are_named(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    refused(copy, rf"{name}: found another file than SHA256SUMS says")
    (copy / name).unlink()
    refused(copy, "no generator.json" if name == "generator.json" else rf"{name}: found no such file")


def test_folders_that_are_no_generators_are_refused(copy, tmp_path):
    refused(tmp_path / "none", "none: found no such folder; expected a generator's folder")
    refused(copy / "card.md", r"card\.md: found a file; expected a generator's folder")
    refused(tmp_path, r"found no generator\.json; expected a generator's folder: .*/copy")
    (copy / "SHA256SUMS").write_text("0" * 64 + "  ../secret\n")
    refused(copy, "SHA256SUMS: found checksums of other files")
    (copy / "SHA256SUMS").write_bytes(b"\xff\x00")
    refused(copy, "SHA256SUMS: found checksums of other files")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 4}, r"generator\.json: found version 4; expected at most 3"),
        ({"arm": 5}, r"generator\.json: found arm: "),
        ({"settings": {"model": {"size": 48}}}, r"generator\.json: model\.size is 48; it must be one of"),
        ({"settings": {"model": {"depth": 3}}}, r"generator\.json: model: found unknown field 'depth'"),
        ({"settings": {"model": {"latent": "x"}}}, r"generator\.json: settings: found no settings"),
        (
            {"settings": {"model": {"latent": 5, "shape_modes": 4}}},
            r"latents\.npz: found arrays .* expected mean \(5,\)",
        ),
        ({"settings": {"model": {"shape_modes": 9}}}, r"shape_model\.npz: found 4 modes; expected 9"),
        ({"settings": {"model": {"shape_modes": 4, "labels": "regions"}}}, r"shape_model\.npz: found no LA"),
    ],
)
def test_cards_of_other_versions_and_with_other_settings_are_refused(copy, change, words):
    write_json(copy / "generator.json", read_json(copy / "generator.json") | change)
    sign(copy)
    refused(copy, words)


def test_generators_of_version_1_are_read(copy):
    before = read_generator(copy)
    write_json(copy / "generator.json", read_json(copy / "generator.json") | {"version": 1})
    sign(copy)
    found = read_generator(copy)
    assert (found.card, found.digest) == (before.card, before.digest)
    assert not found.enhances_volumes


def test_weights_of_another_network_and_no_numbers_are_refused(copy):
    arrays = dict(np.load(copy / "shape.npz"))
    first = next(iter(arrays))
    np.savez(copy / "shape.npz", **{**arrays, first: arrays[first][:, :3]})
    sign(copy)
    with pytest.raises(
        InputError, match=r"shape\.npz: found 000/hidden_0/kernel of shape \(64, 3\); expected \(64, 256"
    ):
        load_generator(copy)
    np.savez(copy / "shape.npz", **{name: arrays[name] for name in list(arrays)[1:]})
    sign(copy)
    with pytest.raises(InputError, match=r"shape\.npz: found 5 variables; expected 6"):
        load_generator(copy)
    np.savez(copy / "shape.npz", **{**arrays, first: np.full_like(arrays[first], np.nan)})
    sign(copy)
    refused(copy, r"shape\.npz: found 000/hidden_0/kernel that is not all finite numbers")
    np.savez(copy / "shape.npz", first=np.array([{}], object))
    sign(copy)
    refused(copy, r"shape\.npz: found a damaged file")  # a pickle, which is never opened
