"""Sampling into folders: formats, resumption, other settings, and the distance to training volumes."""

import functools
import pathlib

import numpy as np
import pytest
import SimpleITK as sitk
from absl import flags

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.generator.folder import read_generator
from fedsim_tf.generator.sampler import Generator, load_generator
from fedsim_tf.generator.sampling_plan import SamplingPlan
from fedsim_tf.tools import sample_formats
from fedsim_tf.tools.sample import open_sampling
from fedsim_tf.tools.sample_formats import FORMATS
from fedsim_tf.tools.sample_pictures import choose_shown
from tests.experiments.commands import command_flags, run_command
from tests.generator.conftest import folder  # noqa: F401
from tests.generator.toy_generator import write_toy_generator
from tests.runs.toy_cohorts import write_own_cohort, write_shapes
from tests.training.toy_site import toy_config

CACHE = pathlib.Path("never used")


@pytest.fixture(scope="module", autouse=True)
def _loaded_once():
    """Lets starts that sample one generator share its networks, which take longest to build and have no state."""
    build = functools.cache(lambda path, _: Generator(read_generator(path)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedsim_tf.generator.sampler.Generator", lambda files, **_: build(files.path, files.digest))
        yield


def sample(generator, output, *, count=2, file_format="nifti", **options):
    names = ("label_values", "rendering", "run", "cache_dir")
    opening = {"cache_dir": CACHE, **{name: options.pop(name) for name in names if name in options}}
    plan = SamplingPlan(count=count, **options)
    return open_sampling(generator, output, plan, file_format=file_format, **opening).run()


def read(path):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def contents(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def drawn(folder):  # noqa: F811
    return list(load_generator(folder).sample(3, seed=0))


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):  # noqa: F811
    """Three volumes that were drawn in one go."""
    output = tmp_path_factory.mktemp("whole") / "samples"
    sample(folder, output, count=3)
    return output


def test_pairs_are_nifti_of_the_generators_volumes(whole, drawn):
    for volume in drawn:
        for kind in ("image", "label"):
            image = sitk.ReadImage(str(whole / f"synthetic_{volume.number:03d}_{kind}.nii.gz"))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(image), getattr(volume, kind).array)
            np.testing.assert_allclose(image.GetSpacing(), volume.image.spacing_mm)
            np.testing.assert_allclose(image.GetOrigin(), volume.image.geometry.origin_mm)
    cohort = find_cohort("nifti", whole)
    assert len(cohort.annotated) == 3  # as a data set of one's own
    assert "What it must not be used for" in (whole / "card.md").read_text()


@pytest.mark.parametrize("stop_at", ["label of 1", "image of 2"])
def test_sampling_that_was_stopped_goes_on_to_the_same_files(folder, whole, tmp_path, monkeypatch, stop_at):  # noqa: F811
    kind, number = stop_at.split(" of ")
    original = sample_formats.write_volume

    def killed(volume, path):
        if path.name == f"synthetic_{int(number):03d}_{kind}.nii.gz":
            raise KeyboardInterrupt
        original(volume, path)

    with monkeypatch.context() as patch:
        patch.setattr(sample_formats, "write_volume", killed)
        with pytest.raises(KeyboardInterrupt):
            sample(folder, tmp_path / "samples", count=3)
    left = tmp_path / "samples" / ".partial-1-synthetic_002_image.nii.gz"  # of a process that was killed
    left.write_bytes(b"half")
    kept = tmp_path / "samples" / "synthetic_000_image.nii.gz"
    written = kept.stat().st_mtime_ns
    sample(folder, tmp_path / "samples", count=3)
    assert kept.stat().st_mtime_ns == written
    assert contents(tmp_path / "samples") == contents(whole)


def test_more_volumes_are_drawn_into_the_same_folder(folder, whole, tmp_path):  # noqa: F811
    sample(folder, tmp_path / "samples", count=1)
    assert sorted(path.name for path in (tmp_path / "samples").glob("*.gz")) == [
        "synthetic_000_image.nii.gz",
        "synthetic_000_label.nii.gz",
    ]
    sample(folder, tmp_path / "samples", count=3)
    assert contents(tmp_path / "samples") == contents(whole)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"seed": 4}, "seed is 4; it must be 0 as for the volumes in .*; others go to another folder"),
        ({"spread": 2.0}, "spread is 2.0; it must be 1.0 as for"),
        ({"fix_shape": 1}, "fix_shape is 1; it must be left out as for"),
        ({"modes": {0: 1.0}}, "modes is 0:1; it must be left out as for"),
        ({"interpolate": (0, 1)}, "interpolate is 0,1; it must be left out as for"),
        ({"file_format": "nrrd"}, "format is nrrd; it must be nifti as for"),
        ({"label_values": "heart:3"}, "label_values is heart:3; it must be left out as for"),
    ],
)
def test_a_folder_takes_no_volumes_that_are_drawn_otherwise(folder, whole, changed, words):  # noqa: F811
    before = contents(whole)
    with pytest.raises(InputError, match=f"^{words}"):
        sample(folder, whole, **changed)
    assert contents(whole) == before


def test_folders_with_other_files_and_other_generators_are_refused(folder, whole, tmp_path):  # noqa: F811
    write_toy_generator(tmp_path / "other", seed=5)
    with pytest.raises(InputError, match=r"generator is .*other; it must be the same as for the volumes"):
        sample(tmp_path / "other", whole)
    with pytest.raises(InputError, match=r"rendering is .*other; it must be the same as for the volumes"):
        sample(folder, whole, rendering=tmp_path / "other")
    with pytest.raises(InputError, match="found a folder with other files; expected a new folder"):
        sample(folder, folder)
    with pytest.raises(InputError, match="found a file; expected a folder for the samples"):
        sample(folder, folder / "card.md")


def test_interpolation_has_one_count_in_a_folder(folder, tmp_path):  # noqa: F811
    """With another one every volume would be another."""
    sample(folder, tmp_path / "path", count=2, interpolate=(0, 1))
    with pytest.raises(InputError, match="count is 3; it must be 2 as for"):
        sample(folder, tmp_path / "path", count=3, interpolate=(0, 1))


def test_nnunet_gets_a_raw_data_set(folder, drawn, tmp_path):  # noqa: F811
    sample(folder, tmp_path / "Dataset501_Synthetic", file_format="nnunet", count=3)
    root = tmp_path / "Dataset501_Synthetic"
    assert read_json(root / "dataset.json") == {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "heart": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
    }
    assert sorted(path.name for path in (root / "imagesTr").iterdir()) == [
        f"synthetic_{k:03d}_0000.nii.gz" for k in range(3)
    ]
    for volume in drawn:
        np.testing.assert_array_equal(
            read(root / "labelsTr" / f"synthetic_{volume.number:03d}.nii.gz"), volume.label.array
        )
    cohort = find_cohort("nifti", root)  # which knows the layout too
    assert len(cohort.annotated) == 3
    with pytest.raises(
        InputError, match="label_values is 'heart:5'; it must have the values 1, 2, 3 and so on for nnunet"
    ):
        sample(folder, tmp_path / "b", file_format="nnunet", label_values="heart:5")


def test_nnunets_own_check_accepts_the_data_set(folder, tmp_path):  # noqa: F811
    pytest.importorskip("nnunetv2")
    from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity

    sample(folder, tmp_path / "Dataset501_Synthetic", file_format="nnunet")
    verify_dataset_integrity(str(tmp_path / "Dataset501_Synthetic"), num_processes=1)


def test_monai_gets_a_datalist(folder, drawn, tmp_path):  # noqa: F811
    sample(folder, tmp_path / "monai", file_format="monai", label_values="heart:2")
    listed = read_json(tmp_path / "monai" / "datalist.json")["training"]
    for item, volume in zip(listed, drawn, strict=False):
        np.testing.assert_array_equal(read(tmp_path / "monai" / item["image"]), volume.image.array)
        np.testing.assert_array_equal(read(tmp_path / "monai" / item["label"]), 2 * volume.label.array)
    assert len(listed) == len(find_cohort("nifti", tmp_path / "monai", label_values="heart:2").annotated) == 2


def test_monai_loads_the_datalist(folder, drawn, tmp_path):  # noqa: F811
    pytest.importorskip("monai")
    from monai.data import load_decathlon_datalist
    from monai.transforms import LoadImaged

    sample(folder, tmp_path / "monai", file_format="monai")
    items = load_decathlon_datalist(str(tmp_path / "monai" / "datalist.json"), True, "training")
    for item, volume in zip(items, drawn, strict=False):
        loaded = LoadImaged(["image", "label"])(item)
        np.testing.assert_array_equal(np.asarray(loaded["image"]).T, volume.image.array)
        np.testing.assert_array_equal(np.asarray(loaded["label"]).T, volume.label.array)


def test_slicer_gets_segmentations_with_names(folder, drawn, tmp_path):  # noqa: F811
    sample(folder, tmp_path / "nrrd", file_format="nrrd")
    for volume in drawn[:2]:
        label = sitk.ReadImage(str(tmp_path / "nrrd" / f"synthetic_{volume.number:03d}.seg.nrrd"))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(label), volume.label.array)
        assert label.GetMetaData("Segment0_Name") == "Heart"
        np.testing.assert_array_equal(
            read(tmp_path / "nrrd" / f"synthetic_{volume.number:03d}.nrrd"), volume.image.array
        )


@pytest.fixture(scope="module")
def trained(tmp_path_factory, folder):  # noqa: F811
    """A generator of a cohort on disk, and the folders of the run that would have written it."""
    root = tmp_path_factory.mktemp("trained")
    write_own_cohort(root / "data")
    config = toy_config(
        dataset="nifti",
        data={"root": str(root / "data"), "labels": 2},
        model={"shape_model": str(write_shapes(root / "shapes.npz"))},
    )
    write_json(root / "run" / "config.json", config.to_dict())
    write_json(root / "run" / "fold_0" / "config.json", config.of_fold(0).to_dict())
    write_toy_generator(root / "run" / "fold_0" / "generators" / "ours_full", name="nifti")
    return root


def test_the_distance_to_the_nearest_training_volume_is_said(trained, tmp_path):
    generator = trained / "run" / "fold_0" / "generators" / "ours_full"
    found = sample(generator, tmp_path / "a", run=trained / "run", cache_dir=trained / "cache")
    # The training part of the fold, which the run's own split gives.
    cohort = find_cohort("nifti", trained / "data")
    chosen = cohort.fold(0, seed=0).with_labels(2)
    names = [*chosen.labelled, *chosen.unlabelled]
    cubes = [name for name in names if int(name[-1]) % 3 != 2]  # already of the network's size
    # Volumes on disk are stored from right to left and from front to back.
    real = [
        np.clip(read(trained / "data" / "images" / f"{name}.nii.gz")[:, ::-1, ::-1], -1000, 1000.0) for name in cubes
    ]
    distances = read_json(tmp_path / "a" / "novelty.json")["nearest_hu"]
    for number in range(2):
        name = f"synthetic_{number:03d}_image.nii.gz"
        nearest = min(np.sqrt(np.mean((read(tmp_path / "a" / name) - one) ** 2)) for one in real)
        assert distances[name] <= nearest + 1e-3
        if len(cubes) == len(names):
            assert distances[name] == pytest.approx(nearest, rel=1e-4)
    assert found.closest_sample_hu == pytest.approx(min(distances.values()))
    assert found.sample_to_real_hu == pytest.approx(np.mean(list(distances.values())))
    assert found.real_to_real_hu > 0


def test_only_the_run_that_wrote_a_generator_can_be_compared_with(folder, trained, tmp_path):  # noqa: F811
    with pytest.raises(InputError, match=r"run is .*; it must be one on toy, which the generator has learnt from"):
        sample(folder, tmp_path / "a", run=trained / "run")
    generator = trained / "run" / "fold_0" / "generators" / "ours_full"
    with pytest.raises(InputError, match="found no run"):
        sample(generator, tmp_path / "a", run=trained / "data")


def test_the_command_has_the_formats_of_the_library():
    with command_flags("sample", "--generator=g", "--output=o"):
        assert flags.FLAGS["format"].parser.enum_values == list(FORMATS)


def test_the_command_draws_says_what_and_resumes(folder, whole, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    arguments = (f"--generator={folder}", "--output=samples")
    found = run_command("sample", *arguments, "--count=2", "--dry_run")
    assert (found.status, found.stdout.splitlines()[-1]) == (0, "2 volumes in samples, 2 of them to be drawn")
    assert "Ours-Full, toy (phantoms)" in found.stdout
    assert not (tmp_path / "samples").exists()
    assert run_command("sample", *arguments, "--count=2").status == 0
    found = run_command("sample", *arguments, "--count=3")
    assert "3 volumes in samples, 1 of them to be drawn" in found.stdout
    assert contents(tmp_path / "samples") == contents(whole)


def test_volumes_are_shown_in_three_planes_with_their_hearts(folder, whole, tmp_path, monkeypatch):  # noqa: F811
    drawn = []
    monkeypatch.setattr("fedsim_tf.evaluation.planes.draw_planes", lambda path, *rest, **_: drawn.append(rest))
    monkeypatch.setattr("fedsim_tf.evaluation.figures.stack_pictures", lambda path, pictures: drawn.append(pictures))
    plan = SamplingPlan(count=3)
    picture = tmp_path / "samples.png"
    open_sampling(folder, whole, plan, file_format="nifti", cache_dir=CACHE, picture=picture).run()
    *volumes, pictures = drawn
    assert list(pictures) == [f"synthetic_{number:03d}_image.nii.gz" for number in range(3)]
    for number, (image, label, centre) in enumerate(volumes):
        np.testing.assert_array_equal(label, read(whole / f"synthetic_{number:03d}_label.nii.gz"))
        assert -1 <= image.min() < image.max() <= 1
        assert label[centre[0]].any()
    with pytest.raises(InputError, match=r"samples\.txt: found another name; expected one ending in \.png"):
        open_sampling(folder, whole, plan, file_format="nifti", cache_dir=CACHE, picture=tmp_path / "samples.txt")


@pytest.mark.parametrize(
    ("count", "shown"), [(1, [0]), (3, [0, 1, 2]), (6, [0, 1, 2, 3, 4, 5]), (11, [0, 2, 4, 6, 8, 10])]
)
def test_the_first_and_the_last_volume_are_among_those_shown(count, shown):
    assert choose_shown(count) == shown


def test_the_command_hands_over_every_control(folder, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    plans = []
    monkeypatch.setattr("fedsim_tf.tools.sample.SamplingStart.run", lambda self: plans.append(self.plan))
    arguments = (f"--generator={folder}", "--output=samples", "--count=5", "--seed=8", "--spread=0.5")
    more = ("--fix_material=2", "--interpolate=0,3", "--modes=0:2.0,3:-1", "--format=nrrd", "--label_values=heart:4")
    assert run_command("sample", *arguments, *more).status == 0
    assert plans == [
        SamplingPlan(count=5, seed=8, spread=0.5, fix_material=2, interpolate=(0, 3), modes={0: 2.0, 3: -1.0})
    ]
