"""A real FLARE server and two clients with mutual TLS on the loopback address."""

import random
import shutil
import socket
import ssl
import threading
import time

import numpy as np
import pytest

from fedsim_tf.errors import RunStopped
from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.flare.deployment import Deployment, carry_through
from fedsim_tf.federated.flare.kit_health import find_second_use
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.federated.wire_record import RECEIVED, SENT, read_wire_record
from fedsim_tf.files import read_json, read_rows
from fedsim_tf.training.checkpoints import Checkpoints
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import read_losses
from tests.federated.flare.federation import SERVER, Federation, job_of_tests, provision
from tests.federated.flare.toy_job import (
    COMPONENTS,
    PATIENCE,
    SETTINGS,
    LeakyExecutor,
    ToyController,
    ToyExecutor,
    coordinate,
    toy_config,
)
from tests.federated.records_for_tests import read_arrays
from tests.federated.squares import STAGE, Squares, ToyWork

SITES = ("leeds", "turin")  # every process of a job imports TensorFlow
ROUNDS = 28


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    root = tmp_path_factory.mktemp("flare")
    system = Federation(root, SITES, SETTINGS, lambda name: {"runs_dir": str(root / "runs" / name)}, classes=COMPONENTS)
    system.root = root
    system.deployment = Deployment(system.admin)
    try:
        system.start_all()
        wait_until(lambda: set(system.deployment.list_connected()) == set(SITES), within=120)
        yield system
    finally:
        system.deployment.close()
        system.kill_all()


def run_undisturbed(root, names):
    """Do the same in this process; each site's end of the run is below `root`. Return the shared weights."""
    config = toy_config(names)
    sites = [Site(name, RunFolder(root / name, config), ToyWork(name)) for name in names]
    return coordinate(Coordinator(RunFolder(root / SERVER, config), InProcess(sites), names), ROUNDS)


def job(run_name, executor=ToyExecutor, *, sites=SITES, quorum=0, settings="", patience=PATIENCE, **options):
    sites = list(sites)
    controller = ToyController(sites, ROUNDS, run_name, quorum, patience=patience)
    return job_of_tests(
        run_name, controller, executor(sites, run_name, **options), sites, quorum=quorum, settings=settings
    )


def own_state(run, site):
    """What a site had learnt for itself when its stage ended."""
    squares = Squares(site)
    assert Checkpoints(run / "checkpoints" / STAGE, {"seconds": seconds(), **squares.objects}).restore() == ROUNDS
    return squares.own.numpy()


def seconds():
    import tensorflow as tf

    return tf.Variable(0.0, dtype=tf.float64)


def site_run(federation, name, run_name):
    return federation.root / "runs" / name / run_name / "sites" / name


def gradients_sent(federation, site, run_name):
    """The rounds whose gradients have left a site, in their order."""
    record = read_wire_record(site_run(federation, site, run_name), SENT)
    return [row.round for row in record if row.task == "gradients" and row.arrays]


def check_like(server, site_runs, root):
    """Losses, shared weights and what each site keeps are those of the run in one process."""
    weights = run_undisturbed(root, tuple(site_runs))
    with np.load(server / "weights.npz") as found:
        np.testing.assert_allclose(found["shape/0"], weights["shape/0"], rtol=0, atol=1e-6)
    mine, wanted = (read_losses(run / "losses" / f"{STAGE}.csv") for run in (server, root / SERVER))
    assert [row[:2] for row in mine] == [row[:2] for row in wanted]
    np.testing.assert_allclose([row[2] for row in mine], [row[2] for row in wanted], rtol=1e-6)
    for site, run in site_runs.items():
        own = own_state(run, site)
        np.testing.assert_allclose(own, own_state(root / site, site), rtol=0, atol=1e-6)


def test_members_that_are_killed_cost_the_rounds_since_the_last_state(federation, tmp_path):
    """A site's worker and another whole site, then the server, at random moments after their jobs' second states."""
    run = federation.root / "runs" / SERVER / "killed"
    ends = []
    submitted = job("killed", pause=0.2)
    thread = threading.Thread(
        target=lambda: carry_through(lambda one: note(ends, federation, one), submitted), daemon=True
    )
    thread.start()
    seed = time.time_ns()
    print(f"seed {seed}")  # shown where this fails
    rng = random.Random(seed)
    for number, kill in enumerate((kill_worker_and_site, kill_server)):
        wait_until(lambda number=number: rounds_kept(run) >= 8 * (number + 1), within=120)
        time.sleep(rng.uniform(0, 1))
        kill(federation)
    thread.join(120)
    assert [end.is_completed for end in ends] == [False, False, True]
    site_runs = {site: site_run(federation, site, "killed") for site in SITES}
    check_like(run, site_runs, tmp_path)
    for site in SITES:
        rounds = gradients_sent(federation, site, "killed")
        assert set(rounds) == set(range(ROUNDS))
        assert len(rounds) - ROUNDS <= 2 * 5  # four rounds between states, and the one that was under way


@pytest.fixture(scope="module")
def returned(federation):
    """A run whose first job lacks turin; in the second one turin is back, and the command is given a second time.

    Returns:
      The run at the server, the ends of its jobs, and the end of the job that the second command has watched.
    """
    federation.kill("turin")
    kill_server(federation)  # which would take turin for connected for minutes
    wait_until(lambda: federation.deployment.list_connected() == ["leeds"], within=120)
    run = federation.root / "runs" / SERVER / "gone"
    ends, submitted = [], job("gone", quorum=1, pause=0.2)

    def run_job(one):
        if ends:
            wait_until(lambda: set(federation.deployment.list_connected()) == set(SITES), within=120)
        return note(ends, federation, one)

    thread = threading.Thread(target=lambda: carry_through(run_job, submitted), daemon=True)
    thread.start()
    wait_until(run.is_dir, within=120)
    federation.start("turin")
    wait_until(lambda: rounds_kept(run) >= 8, within=120)
    again = Deployment(federation.admin)
    with pytest.raises(RunStopped, match="runs with other settings"):
        again.run(job("gone", quorum=1, settings="other"))
    watched = again.run(job("gone", quorum=1, pause=0.2))
    again.close()
    thread.join(120)
    return run, ends, watched


def test_a_site_that_is_gone_is_taken_in_again_when_it_is_back(federation, returned):
    """The other goes on without it; it has no part in the rounds that it missed, and one in those that follow."""
    run, ends, _ = returned
    assert [end.is_completed for end in ends] == [False, True]
    assert list(ends[-1].outcome.lacking) == []
    rounds = {site: set(gradients_sent(federation, site, "gone")) for site in SITES}
    assert rounds["leeds"] == set(range(ROUNDS))
    assert rounds["turin"] == set(range(4, ROUNDS))  # the first job has ended at its first state
    refused = {(row[3], row[4]) for row in read_rows(run / "refused.csv")}
    assert refused == {("turin", "turin is not connected")}


def test_a_job_that_is_under_way_is_watched_and_not_submitted_again(federation, returned):
    """The command that submitted it may have been stopped and given again; with other settings it is refused."""
    _, ends, watched = returned
    assert watched.is_completed
    submissions = (federation.kits / SERVER / "jobs-storage").glob("*/meta")
    assert [read_json(one)["name"] for one in submissions].count("gone") == len(ends)


def test_a_site_that_sends_more_is_stopped_by_its_own_process(federation):
    """The other goes on; nothing of it has left, and the server knows no more than that there is no answer."""
    end = federation.deployment.run(job("leak", LeakyExecutor, quorum=1))
    assert not end.is_completed  # it ends at the first state, so that the site may come back
    assert "to go on from here" in end.outcome.reason
    runs = federation.root / "runs"
    sent = {site: read_wire_record(site_run(federation, site, "leak"), SENT) for site in SITES}
    assert len([row for row in sent["turin"] if row.task == "gradients"]) == 1  # as it was before more was added
    assert len([row for row in sent["leeds"] if row.task == "gradients"]) == 4
    assert {row.name for row in read_arrays(site_run(federation, "turin", "leak"), SENT)} == {"gradients/shape/0"}
    assert {row.site for row in read_arrays(runs / SERVER / "leak", RECEIVED)} == {"leeds"}
    refused = read_rows(runs / SERVER / "leak" / "refused.csv")
    assert refused[0][:4] == ["gradients", STAGE, "0", "turin"]
    told = "what turin sends: found an array 'gradients/shape/1'"
    assert told in log(federation, "turin")
    kept = [path for path in (federation.kits / SERVER).rglob("*") if path.is_file()]
    assert not [path for path in kept if told.encode() in path.read_bytes()]  # nor do logs travel


def test_nobody_without_a_certificate_is_let_in(federation):
    """TLS itself asks for one: the same greeting with a hospital's certificate is answered, and not just hung up on."""
    settings_frame = 4
    assert greeting(federation, federation.kits / "turin")[3] == settings_frame
    assert greeting(federation, None) == b""


def greeting(federation, kit):
    """What the server's port answers to the first bytes of HTTP/2 of one with a kit's certificate, if any."""
    context = ssl.create_default_context(cafile=federation.kits / "turin" / "startup" / "rootCA.pem")
    context.set_alpn_protocols(["h2"])
    if kit is not None:
        context.load_cert_chain(kit / "startup" / "client.crt", kit / "startup" / "client.key")
    plain = socket.create_connection(("localhost", federation.port), timeout=20)
    with plain, context.wrap_socket(plain, server_hostname=SERVER) as secure:
        secure.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            return secure.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_who_is_not_of_the_project_is_refused(federation, tmp_path):
    """A client with another project's certificate, and one whose name is not that of its certificate."""
    foreigner, impostor = (stranger(federation, name) for name in ("foreigner", "impostor"))
    other = provision(tmp_path, ["turin"], project="other")
    assert greeting(federation, other / "turin") == b""  # the server itself does not take it
    for name in ("client.crt", "client.key", "rootCA.pem"):
        shutil.copy(other / "turin" / "startup" / name, foreigner / name)
    for name in ("sub_start.sh", "fed_client.json"):
        file = impostor / name
        file.write_text(file.read_text().replace("turin", "impostor"))
    wanted = {
        "foreigner": "CERTIFICATE_VERIFY_FAILED",
        SERVER: "authenticated as 'turin' but claimed endpoint 'impostor'",
    }
    federation.start("foreigner")
    federation.start("impostor")
    try:
        wait_until(lambda: all(text in log(federation, name) for name, text in wanted.items()), within=60)
        assert set(federation.deployment.list_connected()) == set(SITES)
    finally:
        federation.kill("foreigner")
        federation.kill("impostor")


def test_a_kit_that_is_started_twice_ends_its_job_and_is_said_everywhere(federation):
    """FLARE lets both processes in, cuts off each in turn, and would wait for minutes for the job's last word."""
    stranger(federation, "again")
    thread, ends = run_in_thread(federation, job("twice", pause=1.0))
    wait_until((federation.root / "runs" / SERVER / "twice").is_dir, within=120)
    federation.start("again")
    try:
        thread.join(120)
        assert ["two processes use the kit of turin at once" in str(end) for end in ends] == [True]
        said = lambda name: "absl - ERROR - two processes use the kit of turin at once" in log(federation, name)  # noqa: E731
        wait_until(lambda: all(map(said, (SERVER, "turin", "again"))), within=60)
        wait_until(lambda: "use the kit of turin" in find_second_use(federation.kits / "turin"), within=60)
    finally:
        federation.kill("again")


def run_in_thread(federation, submitted):
    """Carry a job through as the command does; the thread, and the error that ends it."""
    ends = []

    def carry():
        try:
            ends.append(carry_through(federation.deployment.run, submitted))
        except RunStopped as error:
            ends.append(error)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    return thread, ends


def stranger(federation, name):
    """A copy of a hospital's kit; its startup folder."""
    kit = federation.kits / name
    for part in ("startup", "local"):
        shutil.copytree(federation.kits / "turin" / part, kit / part)
    return kit / "startup"


def log(federation, name):
    return (federation.kits / f"{name}.log").read_text()


def note(ends, federation, submitted):
    ends.append(federation.deployment.run(submitted))
    return ends[-1]


def kill_worker_and_site(federation):
    federation.worker("turin").kill()
    federation.kill("leeds")
    federation.start("leeds")


def kill_server(federation):
    federation.kill(SERVER)
    federation.start(SERVER)


def rounds_kept(run):
    return max((int(path.name.removeprefix("step-")) for path in run.glob(f"checkpoints/{STAGE}/step-*")), default=0)


def wait_until(condition, *, within):
    end = time.monotonic() + within
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)
