"""Arms with fixed materials: what is learnt once, and which volumes two arms share."""

import contextlib
import types

import pytest

from fedsim_tf.baselines.blending import alpha_blend, poisson_blend
from fedsim_tf.runs import fixed_material_arms as job
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config


class Volume:
    """Says which heart it was rendered of and by what it was blended since."""

    def __init__(self, heart, blend=None):
        self.heart, self.blend = heart, blend


@pytest.fixture
def drawn(monkeypatch):
    """The folders that volumes were drawn into and what of, with everything that takes time left out."""
    folders, learnt, made, noted, rendered, gans = [], [], {}, [], [], []

    def draw(folder, *_, volumes):
        folders.append(folder.name)
        (made[folder.name],) = volumes()
        return [folder.name]

    def render(hearts):
        (heart,) = hearts
        rendered.append(heart)
        return iter([Volume(heart)])

    site = types.SimpleNamespace(
        learn=lambda _: learnt.append("site") or "fitted",
        random_hearts=lambda: ["random"],
        scattered_hearts=lambda: ["scattered"],
        learnt_hearts=lambda distribution: [f"of {distribution}"],
        volumes=render,
        training_slices=lambda: None,
        rim_voxels=3,
    )
    learner = types.SimpleNamespace(model=types.SimpleNamespace(enhancer=None))
    monkeypatch.setattr(job, "FixedMaterialSite", lambda _, *, augmented_gan: gans.append(augmented_gan) or site)
    monkeypatch.setattr(job, "blend_volume", lambda volume, blend: Volume(volume.heart, blend))
    monkeypatch.setattr(job, "draw_samples", draw)
    monkeypatch.setattr(job, "note_shape_modes", lambda folder, *_: noted.append(folder.name))
    monkeypatch.setattr(job, "settle_statistics", lambda *_: contextlib.nullcontext())
    return types.SimpleNamespace(
        folders=folders,
        learnt=learnt,
        made=made,
        noted=noted,
        rendered=rendered,
        gans=gans,
        begin=lambda: learner,
    )


def simulated(tmp_path, drawn, *arms):
    run = RunFolder(tmp_path / "run", toy_config(segmentation={"arms": arms}))
    return job.simulate_fixed(run, drawn.begin)


def test_ours_fix_mat_with_and_without_fine_tuning_use_the_same_volumes(tmp_path, drawn):
    samples = simulated(tmp_path, drawn, "fix_mat_alone", "random_shape", "ours_fix_mat")
    assert drawn.folders == ["ours_fix_mat", "random_shape"]
    assert samples["fix_mat_alone"] is samples["ours_fix_mat"]
    assert list(samples) == ["fix_mat_alone", "random_shape", "ours_fix_mat"]
    assert drawn.learnt == ["site"]


def test_the_gan_without_augmentation_is_learnt_beside_the_other_and_only_where_it_is_wanted(tmp_path, drawn):
    simulated(tmp_path, drawn, "fix_mat_plain_gan", "ours_fix_mat", "random_shape")
    assert drawn.gans == [True, False]
    assert drawn.folders == ["ours_fix_mat", "random_shape", "fix_mat_plain_gan"]


def test_each_blend_has_volumes_of_its_own(tmp_path, drawn):
    assert list(simulated(tmp_path, drawn, "alpha_blend", "poisson_blend")) == drawn.folders


def test_rows_of_table_2_have_the_hearts_and_the_blend_of_their_names(tmp_path, drawn):
    simulated(tmp_path, drawn, "random_place", "random_shape", "alpha_blend", "poisson_blend", "fix_mat_alone")
    found = {arm: (volume.heart, volume.blend) for arm, volume in drawn.made.items()}
    poisson = found.pop("poisson_blend")
    assert found == {
        "ours_fix_mat": ("of fitted", None),
        "random_place": ("scattered", None),
        "random_shape": ("random", None),
        "alpha_blend": ("random", alpha_blend),
    }
    heart, blend = poisson
    assert (heart, blend.func, blend.keywords) == ("random", poisson_blend, {"rim_voxels": 3})
    assert drawn.noted == ["ours_fix_mat"]  # the others' shapes were not learnt


def test_the_same_hearts_are_rendered_once_for_all_blends(tmp_path, drawn):
    simulated(tmp_path, drawn, "random_shape", "alpha_blend", "poisson_blend", "ours_fix_mat")
    assert sorted(drawn.rendered) == ["of fitted", "random"]


def test_nothing_is_learnt_for_other_arms(tmp_path, drawn):
    assert simulated(tmp_path, drawn, "lower_bound", "ours_full") == {}
    assert drawn.learnt == []
