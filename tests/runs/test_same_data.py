"""A fold that goes on has to find what it began with: volumes, their parts, and the shape model."""

import dataclasses

import numpy as np
import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_json
from fedsim_tf.records.fold_data import DATA
from fedsim_tf.runs.same_data import check_same_data, read_fields_of_view, read_known_volumes
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.volumes import UnlabelledVolumes, Volumes
from tests.runs.toy_cohorts import write_shapes
from tests.training.region_site import region_site
from tests.training.toy_site import FIELD_OF_VIEW_MM, toy_config, toy_site


@pytest.fixture
def begun(tmp_path):
    """A fold that has begun with the toy site."""
    shapes = write_shapes(tmp_path / "shapes.npz")
    run = RunFolder(tmp_path / "run", toy_config(model={"shape_model": str(shapes)}))
    check_same_data(run, toy_site())
    return run


def test_the_same_volumes_are_gone_on_with_however_they_were_rounded(begun):
    kept = (begun.path / DATA).read_text()
    site = toy_site()
    part = site.labelled
    rounded = Volumes(part.identities, part.images * np.float32(1 + 1e-5), part.labels)
    check_same_data(begun, dataclasses.replace(site, labelled=rounded))
    assert (begun.path / DATA).read_text() == kept


def corrected(site):
    labels = site.test.labels.copy()
    labels[1, 16, 16, 16] = 1 - labels[1, 16, 16, 16]
    return dataclasses.replace(site, test=Volumes(site.test.identities, site.test.images, labels))


def exchanged(site):
    images = site.unlabelled.images.copy()
    images[0] += 0.1
    return dataclasses.replace(site, unlabelled=UnlabelledVolumes(site.unlabelled.identities, images))


def renamed(site):
    return dataclasses.replace(site, validation=Volumes(("a_new",), site.validation.images, site.validation.labels))


def fewer(site):
    part = site.labelled
    return dataclasses.replace(site, labelled=Volumes(part.identities[:2], part.images[:2], part.labels[:2]))


def turned(site):
    """The same values the other way round: another orientation was taken."""
    part = site.test
    return dataclasses.replace(
        site, test=Volumes(part.identities, part.images[:, :, :, ::-1], part.labels[:, :, :, ::-1])
    )


def annotated_anew(site):
    """What the upper bound alone learns from."""
    part = site.fully_labelled
    return dataclasses.replace(
        site, fully_labelled=Volumes(part.identities, part.images, np.roll(part.labels, 3, axis=1))
    )


def of_another_size(site):
    return dataclasses.replace(site, field_of_view_mm=tuple(0.35 * mm for mm in site.field_of_view_mm))


def of_other_test_extents(site):
    return dataclasses.replace(site, test_extents_mm=0.35 * site.test_extents_mm)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (corrected, "toy_300_1 changed since the fold began"),
        (exchanged, "toy_100_0 changed since the fold began"),
        (renamed, "a_new now in the validation part"),
        (fewer, "toy_0_2 no longer in the labelled part"),
        (turned, "toy_300_0 changed since the fold began"),
        (annotated_anew, "toy_0_0 changed since the fold began"),
        (of_other_test_extents, "toy_300_0 changed since the fold began"),
        (of_another_size, "a field of view of .* mm now"),
    ],
)
def test_other_volumes_are_refused_and_the_first_one_named(begun, change, message):
    with pytest.raises(InputError, match=f"{message}; expected what the run began with, or another run folder"):
        check_same_data(begun, change(toy_site()))


def test_what_another_version_noted_is_not_compared(begun):
    record = read_json(begun.path / DATA)
    for parts in ({}, {name: {one: [1.0] for one in volumes} for name, volumes in record["parts"].items()}):
        write_json(begun.path / DATA, {**record, "parts": parts})
        with pytest.raises(InputError, match="what another version of this code noted"):
            check_same_data(begun, toy_site())


@pytest.mark.parametrize("contents", ["", "[]", '{"shape_model": "", "parts": {}}', '{"version": 2}'])
def test_a_note_that_cannot_be_read_is_refused_and_says_nothing_of_extents(begun, contents):
    (begun.path / DATA).write_text(contents)
    for read in (lambda: check_same_data(begun, toy_site()), lambda: read_known_volumes(begun.path)):
        with pytest.raises(InputError, match=r"data\.json: found .* begin again in another run folder"):
            read()
    assert read_fields_of_view(begun.path) == []


def test_another_shape_model_of_the_same_name_is_refused(begun):
    with open(begun.config.model.shape_model, "ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="another shape model now"):
        check_same_data(begun, toy_site())


def test_other_vgg_weights_of_the_same_name_are_refused(tmp_path):
    weights = tmp_path / "vgg.npz"
    weights.write_bytes(b"some weights")
    run = RunFolder(tmp_path / "run", toy_config(model={"vgg_weights": str(weights)}))
    check_same_data(run, toy_site())
    moved = weights.rename(tmp_path / "moved.npz")
    run = RunFolder(run.path, toy_config(model={"vgg_weights": str(moved)}))
    check_same_data(run, toy_site())
    moved.write_bytes(b"others")
    with pytest.raises(InputError, match="other VGG-19 weights now"):
        check_same_data(run, toy_site())


def test_a_record_of_before_vgg_weights_were_noted_is_gone_on_with(tmp_path):
    run = RunFolder(tmp_path / "run", toy_config(model={"vgg_weights": "imagenet"}))
    check_same_data(run, toy_site())
    record = read_json(run.path / DATA)
    for name in ("version", "vgg", "in_files_mm"):
        del record[name]
    write_json(run.path / DATA, record)
    check_same_data(run, toy_site())


@pytest.mark.parametrize("noted", [{}, {"vgg": "random"}])
def test_a_run_with_random_vgg_weights_of_before_is_refused(begun, noted):
    record = read_json(begun.path / DATA)
    del record["vgg"]
    write_json(begun.path / DATA, record | noted)
    with pytest.raises(InputError, match="other VGG-19 weights now; expected what the run began with"):
        check_same_data(begun, toy_site())


def test_extents_that_were_given_stand_beside_those_in_the_files(begun):
    assert read_fields_of_view(begun.path) == [FIELD_OF_VIEW_MM]
    (begun.path / DATA).unlink()
    check_same_data(begun, dataclasses.replace(toy_site(), in_files_mm=(512.0, 512.0, 300.0)))
    assert read_fields_of_view(begun.path) == [FIELD_OF_VIEW_MM, (512.0, 512.0, 300.0)]
    assert read_fields_of_view(begun.path / "elsewhere") == []


def test_regions_that_changed_within_the_same_hearts_are_noticed(tmp_path):
    run = RunFolder(tmp_path / "run", toy_config(model={"labels": "regions", "shape_modes": 4}))
    site = region_site()
    check_same_data(run, site)
    check_same_data(run, region_site())
    regions = site.test.regions.copy()
    regions[(regions == 1) | (regions == 5)] = 5
    with pytest.raises(InputError, match="toy_300_0 changed since the fold began"):
        check_same_data(run, dataclasses.replace(site, test=dataclasses.replace(site.test, regions=regions)))
