"""A toy federation by region as its members' files: two hospitals with tiny cohorts, one with binary labels."""

import contextlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.files import read_rows, write_json
from fedsim_tf.runs.coordination import coordinate
from fedsim_tf.runs.flare_fold import FoldController, FoldExecutor, shape_model_digest
from fedsim_tf.runs.flare_member import LOCAL_FILE, Local, strip_local_fields
from fedsim_tf.training.run import RunFolder, fold_path
from tests.evaluation.pictures_for_tests import leave_out_pictures
from tests.federated.flare.federation import SERVER
from tests.runs.toy_cohorts import write_own_cohort, write_shapes_of_regions
from tests.runs.toy_networks import use_small_parts
from tests.training.toy_site import toy_config

HOSPITALS = ("leeds", "turin")  # each has a process of its own, which imports TensorFlow
BINARY = "turin"  # has labels of hearts as a whole; the other's tell three regions apart
RUN = "toy"


def fold_config(root: pathlib.Path):
    """What all hospitals have agreed on."""
    sections = {
        "checkpoint_every": 2,
        "data": {"labels": 2},
        "model": {"shape_model": str(write_shapes_of_regions(root / "shapes.npz")), "labels": "regions"},
        "pretraining": {"steps": 3},
        "gan": {"steps": 1},
        "semi": {"steps": 3},
        "synthesis": {"volumes": 1},
        "segmentation": {"arms": ("direct_fl", "ours_full"), "pretraining_steps": 2,
                         "finetuning_steps": 1},
        "federated": {"sites": HOSPITALS, "latents_of": 2},
    }  # fmt: skip
    return toy_config(**sections)


def local_of(root: pathlib.Path, member: str, config) -> Local:
    """What one member's file says; hospitals have data, the server has none."""
    fields = {"model_shape_model": config.model.shape_model, "model_vgg_weights": "random"}
    dataset = ""
    if member in HOSPITALS:
        data = root / "data" / member
        if not data.exists():
            number = HOSPITALS.index(member)
            write_own_cohort(data, annotated=5, seed=100 * number, by_region=member != BINARY)
        fields["data_root"], dataset = str(data), "nifti"
    runs, cache, secret = str(root / "runs" / member), str(root / "cache"), f"of {member}"
    return Local(runs, cache, dataset, least_latents=2, secret=secret, fields=fields)


def run_in_process(root: pathlib.Path, config) -> RunFolder:
    """The fold with all members in this process, each with its own folder; the server's."""
    sites = []
    for name in HOSPITALS:
        folder = root / "local" / name
        executor = FoldExecutor(strip_local_fields(config), RUN, 0, shape_model_digest(config))
        write_json(folder / LOCAL_FILE, local_of(root, name, config).to_dict())
        sites.append(executor.open_site(name, folder))
    run = RunFolder(fold_path(root / "runs" / SERVER / RUN, 0), config)
    coordinate(Coordinator(run, InProcess(sites), HOSPITALS), run)
    return run


def check_same_losses(wanted: pathlib.Path, found: pathlib.Path) -> None:
    """Every site's losses in every stage of a fold, of its server's folder, are those of another one."""
    for stage in ("pretraining", "semi_supervised", "segmentation/direct_fl/pretrain"):
        mine, other = (read_rows(folder / "losses" / f"{stage}.csv") for folder in (wanted, found))
        assert mine
        assert [row[:2] for row in other] == [row[:2] for row in mine]
        np.testing.assert_allclose([float(row[2]) for row in other], [float(row[2]) for row in mine], rtol=1e-6)


class ToyFoldExecutor(FoldExecutor):
    """Runs traced functions of small networks step by step: for a few steps, tracing takes far longer than running."""

    def open_site(self, name, local):
        patch = pytest.MonkeyPatch()  # in a process of this job alone
        use_small_parts(patch)
        leave_out_pictures(patch)
        tf.config.run_functions_eagerly(True)
        return super().open_site(name, local)


class ToyFoldController(FoldController):
    """Begins with the weights of those networks."""

    def coordinate(self, local):
        with as_toy_sites_do():
            super().coordinate(local)


@contextlib.contextmanager
def as_toy_sites_do():
    """Lets this process compute as a `ToyFoldExecutor` does."""
    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            use_small_parts(patch)
            leave_out_pictures(patch)
            yield patch
    finally:
        tf.config.run_functions_eagerly(False)
