"""Phantom sites as folders: whose files they may hold; what a subject looks like is tested in test_subjects.py."""

import dataclasses
import types

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.phantom import claim, cohort
from fedsim_tf.phantom.cohort import write_site
from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.shape.surfaces import CorrespondingShapes, region_surface
from fedsim_tf.volume import Geometry, Volume


@pytest.fixture
def made(monkeypatch):
    """Numbers of the subjects that were made, each in no time."""
    numbers = []

    def make(spec, number, identity, shapes):
        numbers.append(number)
        volume = Volume(np.zeros((4, 4, 4), np.int16), Geometry((1.0, 1.0, 1.0)))
        return types.SimpleNamespace(image=volume, label=volume.with_array(volume.array.astype(np.uint8)))

    monkeypatch.setattr(cohort, "make_subject", make)
    return numbers


def test_what_is_missing_is_written_by_the_next_call(made, tmp_path):
    write_site("ct20", tmp_path)
    assert sorted(made) == list(range(20))
    (tmp_path / "ct_train_1003_label.nii.gz").unlink()
    made.clear()
    write_site("ct20", tmp_path)
    assert made == [2]


@pytest.mark.usefixtures("made")
def test_a_folder_holds_one_cohort(tmp_path, monkeypatch):
    """Files that are there are kept: those of other hearts would be taken for these."""
    hearts = draw_hearts(ADULTS, 3, seed=5)
    write_site("ct20", tmp_path, shapes=hearts)
    write_site("ct20", tmp_path, shapes=draw_hearts(ADULTS, 3, seed=5))
    for name, shapes in (("ct20", None), ("ct20", draw_hearts(ADULTS, 3, seed=6)), ("ct34lc", hearts)):
        with pytest.raises(InputError, match="another recipe; expected the same one, or another folder"):
            write_site(name, tmp_path, shapes=shapes)
    monkeypatch.setattr(claim, "VERSION", 99)
    with pytest.raises(InputError, match="another recipe"):
        write_site("ct20", tmp_path, shapes=hearts)
    (tmp_path / claim.RECIPE).unlink()
    with pytest.raises(InputError, match="files of an unknown recipe"):
        write_site("ct20", tmp_path, shapes=hearts)


@pytest.mark.usefixtures("made")
def test_hearts_without_all_regions_are_refused(tmp_path):
    hearts = draw_hearts(ADULTS, 2, seed=5)
    points, faces = region_surface(hearts.points, hearts.faces, hearts.region_id, 5)
    alone = CorrespondingShapes(points, faces, np.full(points.shape[1], 5, np.uint8))
    with pytest.raises(InputError, match="shapes: found regions 5; expected all seven"):
        write_site("ct20", tmp_path, shapes=alone)
    assert list(tmp_path.iterdir()) == []


def test_names_of_given_hearts_do_not_change_the_recipe():
    hearts = draw_hearts(ADULTS, 2, seed=5)
    assert claim._shapes_digest(dataclasses.replace(hearts, subjects=("a", "b"))) == claim._shapes_digest(hearts)
