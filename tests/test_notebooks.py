"""The notebooks run from top to bottom, on a toy generator and toy scans, and are committed without outputs."""

import json
import pathlib

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
import tensorflow as tf

import fedsim_tf
from tests.generator.conftest import folder  # noqa: F401
from tests.runs.conftest import _fast, titles  # noqa: F401
from tests.runs.toy_cohorts import write_own_cohort, write_shapes

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(name):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def run(name, **parameters):
    """Run a notebook's cells in this process, with other values for what its cell of parameters sets; return names."""
    names = {"__name__": "notebook"}
    for number, cell in enumerate(read(name).cells):
        if cell.cell_type == "code":
            exec(compile(cell.source, f"{name}, cell {number}", "exec"), names)
        if "parameters" in cell.metadata.get("tags", ()):
            assert set(parameters) <= set(names)
            names |= parameters
    return names


@pytest.fixture
def _elsewhere(tmp_path, monkeypatch):
    """Lets nothing be drawn on a screen, nor written into the sources."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", lambda: None)
    yield
    plt.close("all")


@pytest.fixture
def _traced(_fast):  # noqa: F811
    """Traces the renderer after all: it renders many volumes here."""
    tf.config.run_functions_eagerly(False)
    yield
    tf.config.run_functions_eagerly(True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_valid_and_have_no_outputs(path):
    nbformat.validate(json.loads(path.read_text()))
    cells = [cell for cell in read(path.stem).cells if cell.cell_type == "code"]
    assert [cell.execution_count or cell.outputs for cell in cells] == [[]] * len(cells)
    assert ["parameters" in cell.metadata.get("tags", ()) for cell in cells] == [True] + [False] * (len(cells) - 1)


def pictures(figure):
    """Return the images of a figure."""
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


@pytest.mark.usefixtures("_elsewhere", "_traced")
def test_a_generator_is_sampled_and_looked_at(folder, tmp_path, capsys):  # noqa: F811
    names = run("sample_and_look", GENERATOR=folder, OUTPUT=tmp_path / "samples")
    assert len(pictures(names["figure"])) == 3
    assert all(np.ptp(picture) > 0.1 for picture in pictures(names["figure"]))
    shown = [pictures(plt.figure(number)) for number in plt.get_fignums()]
    assert [len(row) for row in shown] == [5, 5, 5]
    # The toy's hearts differ along the mode by a few voxels, which may lie in other slices than the one that is shown.
    assert all(np.abs(row[0] - row[-1]).max() > 0.01 for row in shown[:2])
    assert np.any(names["along_mode"][0].label.array != names["along_mode"][-1].label.array)
    for one, other in ((0, 0), (-1, 1)):
        np.testing.assert_array_equal(names["path"][one].image.array, names["volumes"][other].image.array)
    assert len(set(names["hearts_ml"])) > 1
    written = fedsim_tf.read(tmp_path / "samples" / "2_image.nii.gz")
    np.testing.assert_array_equal(written.array, names["volumes"][2].image.array)
    assert "Diagnosis" in capsys.readouterr().out


@pytest.mark.usefixtures("_elsewhere")
def test_own_files_become_a_segmentation(tmp_path, monkeypatch, capsys):
    """Without simulation, which other runs at this size have."""
    monkeypatch.setattr("fedsim_tf.runs.compare_arms.segmentation_gallery", lambda *_, **__: None)
    write_own_cohort(tmp_path / "scans")
    shapes = write_shapes(tmp_path / "shapes.npz")
    settings = {
        "data": {"root": str(tmp_path / "scans"), "labels": 2, "folds": 1},
        "model": {"shape_model": str(shapes), "shape_modes": 4, "precision": "float32"},
        "segmentation": {"arms": ("lower_bound",), "pretraining_steps": 1, "finetuning_steps": 2, "rate": 0.05},
    }
    places = {"DATA": tmp_path / "scans", "RUN": tmp_path / "run", "CACHE": tmp_path / "cache"}
    names = run("own_data", **places, SETTINGS=settings, ARM="lower_bound")
    scores = names["metrics"].folds[0]["nifti"]["lower_bound"].cases[names["tested"]]
    assert names["overlap"] == pytest.approx(scores.dice, abs=3)  # on the CT's grid and not on the cube
    assert len(pictures(names["figure"])) == 3
    mask = fedsim_tf.read(tmp_path / "run" / f"{names['tested']}_lower_bound.nii.gz")
    np.testing.assert_array_equal(mask.array, names["mask"].array)
    assert (tmp_path / "run" / "network" / "card.md").is_file()
    assert "every file can be used" in capsys.readouterr().out
