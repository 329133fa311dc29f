"""The public names of fedsim_tf: what their documentation shows runs, and importing them costs nothing before."""

import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fedsim_tf
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.tools import segment
from fedsim_tf.volume import Geometry, Volume
from tests.generator.conftest import folder  # noqa: F401
from tests.runs.conftest import _fast, titles  # noqa: F401
from tests.runs.toy_cohorts import write_shapes
from tests.tools.test_segment import HU, TRUTH, ThresholdFold

ROOT = pathlib.Path(__file__).resolve().parents[1]
CT = Volume(HU, Geometry((3.0, 3.0, 3.0)))


def examples(text, pattern):
    """Return the code in a text, which one pattern finds part by part."""
    return textwrap.dedent("\n".join(re.findall(pattern, text)))


EXAMPLES = {
    "docs/sampling.md": examples((ROOT / "docs/sampling.md").read_text(), r"(?s)```python\n(.*?)```"),
    "fedsim_tf": examples(fedsim_tf.__doc__, r"(?m)^(?: {4}.*)?$"),
}


@pytest.fixture
def _run_folder(folder, tmp_path, monkeypatch):  # noqa: F811
    """A folder with a run, as the examples name it, and a CT."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "runs/demo/fold_0/generators/ours_full")
    monkeypatch.setattr(segment, "open_finished_fold", lambda _: ThresholdFold())
    fedsim_tf.write(CT, "ct.nii.gz")


@pytest.mark.usefixtures("_run_folder")
@pytest.mark.parametrize("place", EXAMPLES)
def test_examples_run(place, tmp_path, capsys):
    assert "load_generator" in EXAMPLES[place]
    assert "load_segmenter" in EXAMPLES[place]
    names = {}
    exec(compile(EXAMPLES[place], place, "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert names["points_mm"].shape == names["model"].mean.shape
    assert names["heart"].array.shape == names["volume"].image.array.shape == (32, 32, 32)
    assert any(path.name.startswith("heart") for path in tmp_path.glob("*.nii.gz"))


def test_importing_the_package_imports_nothing_else():
    code = "import sys, fedsim_tf; dir(fedsim_tf); print([n for n in sys.modules if n in ('numpy', 'tensorflow')])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_every_public_name_is_there_and_no_other():
    for name in fedsim_tf.__all__:
        assert callable(getattr(fedsim_tf, name))
    assert set(fedsim_tf.__all__) <= set(dir(fedsim_tf))
    with pytest.raises(AttributeError, match="module 'fedsim_tf' has no attribute 'load_everything'"):
        _ = fedsim_tf.load_everything


@pytest.mark.usefixtures("_run_folder")
def test_a_segmenter_gives_the_heart_on_the_cts_own_grid():
    """Axes in another order and direction: what is found is where it is bright."""
    turned = Volume(
        HU.transpose(2, 0, 1)[:, ::-1].astype(np.int16),
        Geometry((3.0, 3.0, 3.0), (5.0, 6.0, 7.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)),
    )
    found = fedsim_tf.load_segmenter("runs/demo/fold_0")(turned)
    np.testing.assert_array_equal(found.array > 0, TRUTH.transpose(2, 0, 1)[:, ::-1])
    assert found.geometry == turned.geometry


def test_shape_models_come_from_models_and_from_shapes(tmp_path):
    """With all of their modes, where no number is given."""
    shapes = write_shapes(tmp_path / "shapes.npz")
    model = fedsim_tf.load_shape_model(shapes)
    assert model.n_modes == 11  # twelve subjects
    model.save(tmp_path / "model.npz")
    again = fedsim_tf.load_shape_model(tmp_path / "model.npz")
    assert isinstance(again, StatisticalShapeModel)
    np.testing.assert_array_equal(again.modes, model.modes)
    assert fedsim_tf.load_shape_model(tmp_path / "model.npz", n_modes=3).n_modes == 3
