import contextlib
import hashlib
import json
import sys
import types

import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.case_files import CaseFiles
from fedsim_tf.data.splits import SplitSizes, split
from fedsim_tf.data.writing import write_volume
from fedsim_tf.errors import InputError
from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.shape.grid import Grid
from fedsim_tf.shape.mesh_files import write_mesh
from fedsim_tf.shape.registration import RegistrationOptions
from fedsim_tf.shape.ssm import PHANTOM_MODEL, StatisticalShapeModel, load_shape_model
from fedsim_tf.shape.voxelize import label_map
from fedsim_tf.tools import build_ssm, ssm_start
from fedsim_tf.tools.build_ssm import build_model
from fedsim_tf.tools.ssm_start import (
    BuildPlan,
    ShapesStart,
    estimate_registration,
    find_subjects,
    open_labels,
    read_shapes,
)
from fedsim_tf.volume import Geometry, Volume

N_HEARTS = 4
GRID = Grid.centred((64, 64, 64), (190.0, 190.0, 190.0))
QUICK = RegistrationOptions(
    components=700, points=700, fine_points=1500, rank=60, rigid_iterations=6, coherent_iterations=4, fine_iterations=2
)


@pytest.fixture(scope="module")
def hearts():
    return draw_hearts(ADULTS, N_HEARTS, seed=5)


@pytest.fixture(scope="module")
def labels(hearts, tmp_path_factory):
    """A folder of label maps, as a site would have them: a patient somewhere, MM-WHS's values in one of them."""
    folder = tmp_path_factory.mktemp("labels")
    for number, points in enumerate(hearts.points):
        found = label_map(points - points.mean(0), hearts.faces, hearts.region_id, GRID).numpy()
        stored = np.array([0, 500, 600, 420, 550, 205, 820, 850], np.int16)[found] if number == 1 else found
        origin = tuple(np.array(GRID.origin_mm) + 30.0 * number)
        place = Geometry(GRID.spacing_mm, origin, tuple(np.eye(3).ravel()))
        write_volume(Volume(stored, place), folder / f"patient{number}_label.nii.gz")
    (folder / "._patient0_label.nii.gz").write_bytes(b"macOS")
    return folder


@pytest.fixture(scope="module")
def built(labels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    plan = BuildPlan(folder / "hearts.npz", 2, folder / "report", options=QUICK, specificity_samples=20)
    return plan, build_model(open_labels(plan, labels))


def test_model_of_label_maps_is_close_to_them(built):
    plan, model = built
    record = json.loads((plan.report / "quality.json").read_text())
    assert model.n_modes == 2
    assert set(np.unique(model.region_id)) == set(range(1, 8))
    assert list(record["residual_mm"]) == [f"patient{number}_label" for number in range(N_HEARTS)]
    assert max(record["residual_mm"].values()) < 1.5  # half a voxel
    assert record["generalisation_mm"]["mean_surface"] < 5.0
    assert record["compactness"][-1] == pytest.approx(1.0)


def test_the_model_knows_its_subjects_and_shapes_without_names_none(built, labels):
    plan, _ = built
    model = load_shape_model(plan.out, n_modes=2)
    assert model.subjects == tuple(f"patient{number}_label" for number in range(N_HEARTS))
    files = [labels / f"patient{number}_label.nii.gz" for number in range(N_HEARTS)]
    assert model.subject_digests == tuple(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)
    shipped = load_shape_model(PHANTOM_MODEL, n_modes=14)
    assert (shipped.subjects, shipped.subject_digests) == ((), ())


def test_of_a_fold_the_training_part_alone_is_used(tmp_path):
    for number in range(20):
        for kind in ("image", "label"):
            (tmp_path / f"ct_train_{1001 + number}_{kind}.nii.gz").write_bytes(b"")
    names = [f"ct_train_{1001 + number}" for number in range(20)]
    assert list(find_subjects(tmp_path, "ct20")) == names
    for fold in range(5):
        expected = split(names, SplitSizes(12, 4, 4), fold=fold, seed=3).train
        assert set(find_subjects(tmp_path, "ct20", fold=fold, split_seed=3)) == set(expected)
    with pytest.raises(InputError, match="fold: found 1; expected a dataset too"):
        find_subjects(tmp_path, fold=1)


def test_every_label_file_of_a_subject_counts(tmp_path, monkeypatch):
    cohort = types.SimpleNamespace(
        annotated=("a", "b"),
        files=[
            CaseFiles("a", tmp_path / "a.nii", {5: tmp_path / "a5.nii", 1: tmp_path / "a1.nii"}),
            CaseFiles("b", tmp_path / "b.nii", tmp_path / "b_label.nii"),
        ],
    )
    monkeypatch.setattr(ssm_start, "find_cohort", lambda *_, **__: cohort)
    found = find_subjects(tmp_path, "totalsegmentator")
    assert set(found["a"].files) == {tmp_path / "a5.nii", tmp_path / "a1.nii"}
    assert found["b"].files == (tmp_path / "b_label.nii",)


def test_measuring_the_model_shows_how_far_it_is(hearts, tmp_path, monkeypatch):
    bars = {}

    @contextlib.contextmanager
    def bar(total, description):
        bars[description] = [total, 0]
        yield types.SimpleNamespace(update=lambda n=1: bars[description].__setitem__(1, bars[description][1] + n))

    monkeypatch.setattr(build_ssm, "progress_bar", bar)
    build_model(ShapesStart(BuildPlan(tmp_path / "m.npz", 2, tmp_path / "report", specificity_samples=7), hearts))
    assert bars == {"generalisation": [N_HEARTS, N_HEARTS], "specificity": [7, 7]}


def test_without_vtk_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vtkmodules", None)
    with pytest.raises(InputError, match=r"vtk: found not installed.*fedsim-tf\[meshes\]"):
        BuildPlan(tmp_path / "model.npz", 2, tmp_path / "report")


def test_report_is_complete(built):
    plan, _ = built
    names = {path.name for path in plan.report.iterdir()}
    assert {"modes.png", "quality.png", "worst_fit.png", "quality.md", "quality.json", "shapes.npz", "meshes"} <= names
    assert "| patient3_label |" in (plan.report / "quality.md").read_text()
    assert (plan.report / "meshes" / "mode_02_plus3sd.stl").is_file()


def test_written_model_and_shapes_open(built):
    plan, model = built
    np.testing.assert_array_equal(StatisticalShapeModel.load(plan.out).mean, model.mean)
    fitted = load_shape_model(plan.report / "shapes.npz", n_modes=3)
    assert fitted.n_modes == 3
    assert (fitted.subjects, fitted.subject_digests) == (model.subjects, model.subject_digests)


def test_same_call_resumes_to_the_same(built, labels):
    plan, model = built
    again = build_model(open_labels(plan, labels))
    np.testing.assert_array_equal(again.mean, model.mean)
    np.testing.assert_array_equal(again.modes, model.modes)


def test_meshes_in_correspondence_are_taken_as_they_are(hearts, tmp_path):
    for number, points in enumerate(hearts.points):
        write_mesh(tmp_path / "in" / f"heart{number}.ply", points, hearts.faces, hearts.region_id)
    shapes = read_shapes(tmp_path / "in")
    plan = BuildPlan(tmp_path / "model.npz", 3, tmp_path / "report", specificity_samples=5)
    found = build_model(ShapesStart(plan, shapes))
    expected = StatisticalShapeModel.fit(hearts.points, hearts.faces, hearts.region_id, 3)
    np.testing.assert_allclose(found.std, expected.std, rtol=1e-4)
    assert found.subjects == tuple(f"heart{number}" for number in range(N_HEARTS))
    assert "| heart2 |" in (plan.report / "quality.md").read_text()
    assert not (plan.report / "worst_fit.png").exists()


def test_the_estimate_grows_with_the_square_of_the_points():
    assert estimate_registration(20, 4000) == 2 * estimate_registration(10, 4000) == 2 * estimate_registration(20, 2000)
    assert estimate_registration(20, 16000) == 16 * estimate_registration(20, 4000)


def test_too_many_modes_say_how_many(labels, tmp_path):
    plan = BuildPlan(tmp_path / "model.npz", 14, tmp_path / "report")
    with pytest.raises(InputError, match=r"modes: found 14 with 4 subjects; expected 1 to 3"):
        build_model(open_labels(plan, labels))
    assert not plan.report.exists()


def test_a_missing_region_names_the_subject(labels, tmp_path):
    from fedsim_tf.data.label_files import read_label_map

    for path in sorted(labels.glob("patient*.nii.gz")):
        volume = read_label_map(path)
        broken = np.where(volume.array == 3, 0, volume.array) if "patient2" in path.name else volume.array
        write_volume(volume.with_array(broken), tmp_path / "in" / path.name)
    plan = BuildPlan(tmp_path / "model.npz", 2, tmp_path / "report", options=QUICK)
    with pytest.raises(InputError, match=r"patient2_label.*3"):
        build_model(open_labels(plan, tmp_path / "in"))


def test_regions_that_the_first_subject_has_not_are_not_dropped_silently(labels, tmp_path):
    from fedsim_tf.data.label_files import read_label_map

    for path in sorted(labels.glob("patient*.nii.gz")):
        volume = read_label_map(path)
        alone = (volume.array == 1).astype(np.uint8) if "patient0" in path.name else volume.array
        write_volume(volume.with_array(alone), tmp_path / "in" / path.name)
    plan = BuildPlan(tmp_path / "model.npz", 2, tmp_path / "report", options=QUICK)
    with pytest.raises(
        InputError, match=r"patient1_label: found regions \[2, 3, 4, 5, 6, 7\], which patient0_label has not"
    ):
        build_model(open_labels(plan, tmp_path / "in"))


@pytest.mark.parametrize("content", ["nothing", "one"])
def test_folders_without_subjects_are_refused(content, tmp_path, labels):
    folder = tmp_path / "in"
    folder.mkdir()
    if content == "one":
        (folder / "only.nii.gz").write_bytes((labels / "patient0_label.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"no NIfTI files|1 subject"):
        find_subjects(folder)
    with pytest.raises(InputError, match="no such folder"):
        find_subjects(tmp_path / "absent")


def test_shipped_model_is_that_of_the_phantom_hearts():
    shapes = read_shapes("phantom")
    expected = StatisticalShapeModel.fit(shapes.points, shapes.faces, shapes.region_id, 14)
    shipped = StatisticalShapeModel.load(PHANTOM_MODEL)
    np.testing.assert_array_equal(shipped.faces, expected.faces)
    np.testing.assert_allclose(shipped.mean, expected.mean, atol=1e-3)
    np.testing.assert_allclose(shipped.std, expected.std, rtol=1e-4)
    overlap = np.abs(np.einsum("kvi,kvi->k", shipped.modes, expected.modes))  # a mode's sign is free
    np.testing.assert_allclose(overlap, 1.0, atol=1e-3)


def test_heart_and_background_make_a_model_of_one_region(labels, tmp_path):
    from fedsim_tf.data.label_files import read_label_map

    for path in sorted(labels.glob("patient*.nii.gz")):
        volume = read_label_map(path)
        write_volume(volume.with_array((volume.array > 0).astype(np.uint8)), tmp_path / "in" / path.name)
    plan = BuildPlan(tmp_path / "model.npz", 2, tmp_path / "report", options=QUICK, specificity_samples=5)
    model = build_model(open_labels(plan, tmp_path / "in"))
    record = json.loads((plan.report / "quality.json").read_text())
    assert set(np.unique(model.region_id)) == {1}
    assert max(record["residual_mm"].values()) < 1.5


def test_label_values_that_are_given_are_read_with_and_without_a_layout(labels, tmp_path):
    """A heart called 51 beside a lung called 10, which is background."""
    for number, folder in ((0, "alone"), (1, "alone"), (0, "set/labels"), (1, "set/labels")):
        heart = sitk.ReadImage(str(labels / f"patient{number}_label.nii.gz")) > 0
        stored = sitk.Cast(heart, sitk.sitkInt16) * 51
        stored[0:8, 0:8, 0:8] = 10
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(stored, str(tmp_path / folder / f"patient{number}.nii.gz"))
        (tmp_path / "set" / "images").mkdir(exist_ok=True, parents=True)
        ct = sitk.Cast(heart, sitk.sitkInt16) * 900 - 850
        sitk.WriteImage(ct, str(tmp_path / "set" / "images" / f"patient{number}.nii.gz"))
    for folder, dataset in (("alone", None), ("set", "nifti")):
        sources = find_subjects(tmp_path / folder, dataset, label_values="heart:51")
        for number in range(2):
            wanted = sitk.GetArrayFromImage(sitk.ReadImage(str(labels / f"patient{number}_label.nii.gz"))) > 0
            np.testing.assert_array_equal(sources[f"patient{number}"].load().array, wanted)
        with pytest.raises(InputError, match=r"unknown label values 10"):
            find_subjects(tmp_path / folder, dataset)["patient0"].load()
    with pytest.raises(InputError, match="label_values is 'liver:1'"):
        find_subjects(tmp_path / "alone", label_values="liver:1")
