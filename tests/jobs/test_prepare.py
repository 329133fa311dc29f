"""Preparing a data set: every file is read once, and a bad one is found before any run."""

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.jobs.inputs import open_cohort, open_fold
from fedsim_tf.jobs.prepare import prepare_dataset
from tests.jobs.toy_cohorts import write_paper_cohort
from tests.training.toy_site import toy_config


@pytest.fixture
def config(tmp_path):
    write_paper_cohort(tmp_path / "data", "ct20", count=20)
    return toy_config(dataset="ct20", data={"root": str(tmp_path / "data")})


def test_folds_find_every_volume_prepared(config, tmp_path, monkeypatch):
    assert prepare_dataset(config, cache_dir=tmp_path) == 20
    cohort = open_cohort(config, "ct20", cache_dir=tmp_path)
    monkeypatch.setattr(type(cohort), "load", lambda *_: pytest.fail("read again"))
    site = open_fold(config, cohort, fold=3, n_labelled=4, cache_dir=tmp_path)
    assert len(site.fully_labelled) == 12


def test_a_damaged_file_is_named(config, tmp_path):
    (tmp_path / "data" / "ct_train_1013_image.nii.gz").write_bytes(b"no volume")
    with pytest.raises(InputError, match=r"ct_train_1013_image\.nii\.gz"):
        prepare_dataset(config, cache_dir=tmp_path)
