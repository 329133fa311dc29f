"""Encrypted rounds on a real FLARE system whose kits were provisioned with FLARE's HEBuilder."""

import pathlib

import numpy as np
import pytest

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.flare.contexts import SERVER_FILE, SITE_FILE
from fedsim_tf.federated.flare.deployment import Deployment
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.wire_record import BROADCAST, RECEIVED
from fedsim_tf.files import read_npz
from fedsim_tf.training.run import RunFolder
from tests.federated.flare.federation import ENCRYPTION, REPOSITORY, SERVER, Federation, job_of_tests
from tests.federated.flare.toy_job import (
    COMPONENTS,
    SETTINGS,
    EncryptedToyController,
    EncryptedToyExecutor,
    coordinate,
    toy_config,
)
from tests.federated.records_for_tests import read_arrays
from tests.federated.squares import STAGE, ToyWork
from tests.federated.tenseal_for_tests import need_tenseal

need_tenseal()
SITES, ROUNDS, RUN = ("leeds", "turin"), 6, "sums"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory):
    """The folder of a federation that has done a job."""
    root = tmp_path_factory.mktemp("encrypted")
    folders = lambda name: {"runs_dir": str(root / "runs" / name)}  # noqa: E731
    system = Federation(root, SITES, SETTINGS, folders, classes=COMPONENTS, encrypted=True)
    controller = EncryptedToyController(list(SITES), ROUNDS, RUN, len(SITES))
    job = job_of_tests(RUN, controller, EncryptedToyExecutor(list(SITES), RUN, ROUNDS), SITES, quorum=len(SITES))
    deployment = Deployment(system.admin)
    try:
        system.start_all()
        assert deployment.run(job).is_completed
    finally:
        deployment.close()
        system.kill_all()
    return root, system.kits


def test_the_documented_builder_gives_the_key_to_sites_alone(deployed):
    _, kits = deployed
    assert f"- path: {ENCRYPTION}" in (REPOSITORY / "docs" / "federated_project.yml").read_text()
    holders = {file.relative_to(kits).as_posix() for file in pathlib.Path(kits).rglob(SITE_FILE)}
    assert holders == {f"{name}/startup/{SITE_FILE}" for name in SITES}
    assert [file.parents[1].name for file in pathlib.Path(kits).rglob(SERVER_FILE)] == [SERVER]


def test_sites_learn_what_they_would_if_the_server_read_gradients(deployed, tmp_path):
    root, _ = deployed
    config = toy_config(SITES)
    sites = [Site(name, RunFolder(tmp_path / name, config), ToyWork(name)) for name in SITES]
    coordinator = Coordinator(RunFolder(tmp_path / SERVER, config), InProcess(sites), SITES)
    wanted = coordinate(coordinator, ROUNDS)["shape/0"]
    for name in SITES:
        (kept,) = (root / "runs" / name / RUN).rglob(f"shared/{STAGE}.npz")
        np.testing.assert_allclose(read_npz(kept)["shape/0"], wanted, rtol=0, atol=1e-5)


def test_the_server_got_ciphertexts_alone_and_sends_nothing_else_but_the_first_weights(deployed):
    root, _ = deployed
    server = root / "runs" / SERVER / RUN
    received = read_arrays(server, RECEIVED)
    assert {row.site for row in received} == set(SITES)
    assert {row.name.partition("/")[0] for row in received} == {"encrypted"}
    told = {row.name.partition("/")[0] for row in read_arrays(server, BROADCAST)}
    assert told == {"weights", "encrypted"}
