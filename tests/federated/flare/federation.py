"""A FLARE system on the loopback address, with mutual TLS, as `nvflare provision` makes it."""

import contextlib
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import time

import psutil
import yaml

from fedsim_tf.federated.flare.jobs import PACKAGE, class_path, make_job, write_local_files
from fedsim_tf.files import read_json, write_json
from tests.federated.flare.launchers import LAUNCHERS
from tests.federated.flare.nursery import SOCKET, STUB

REPOSITORY = pathlib.Path(__file__).parents[3]
SERVER, ADMIN = "localhost", "admin@coordinator.org"
PROGRAMS = pathlib.Path(sys.executable).parent


ENCRYPTION = "nvflare.lighter.impl.he.HEBuilder"  # in docs/federated_project.yml


def provision(folder, sites, *, project="toy", ports=None, encrypted=False):
    """Kits of a project's members, without contexts of encryption unless wanted; the folder that has them all."""
    fed_learn_port, admin_port = ports or (free_port(), free_port())
    template = yaml.safe_load((REPOSITORY / "docs" / "federated_project.yml").read_text())
    server = next(one for one in template["participants"] if one["type"] == "server")
    admin = next(one for one in template["participants"] if one["type"] == "admin")
    server |= {"name": SERVER, "fed_learn_port": fed_learn_port, "admin_port": admin_port}
    clients = [{"name": name, "type": "client", "org": name} for name in sites]
    participants = [server, *clients, {**admin, "name": ADMIN}]
    builders = [one for one in template["builders"] if encrypted or one["path"] != ENCRYPTION]
    changed = {"name": project, "participants": participants, "builders": builders}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "project.yml").write_text(yaml.safe_dump({**template, **changed}))
    command = [str(PROGRAMS / "nvflare"), "provision", "-p", "project.yml", "-w", "kits"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return folder / "kits" / project / "prod_00"


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


def job_of_tests(name, controller, executor, sites, *, quorum, settings=""):
    """A job whose components may be the tests' own; like this project's, they do not travel with it."""
    job = make_job(name, controller, executor, sites, quorum=quorum, settings=settings)
    job.set_app_packages([PACKAGE, "tests"])
    return job


def let_jobs_be_forked(file):
    """Let a member's settings name launchers that fork."""
    resources = read_json(file)
    paths = {class_path(base): class_path(kind) for base, kind in LAUNCHERS.items()}
    for component in resources["components"]:
        component["path"] = paths.get(component["path"], component["path"])
    write_json(file, resources)


def write_stub(file):
    """Write the program that a kit's script takes for Python."""
    file.parent.mkdir(exist_ok=True)
    file.write_text(f'#!/bin/sh\nexec {shlex.join(STUB)} "$@"\n')
    file.chmod(0o755)


class Federation:
    """Members' processes, started and killed by name.

    Args:
      forked: whether they and their jobs' processes are forked, see `nursery`, or start anew as at a hospital.
      encrypted: whether kits have contexts of encryption.

    Attributes:
      kits: the folder with each member's kit.
      admin: the admin's kit.
      processes: of the members that were started, by name.
      port: of the server, on the loopback address.
    """

    def __init__(self, folder, sites, settings_file, settings, *, classes, forked=True, encrypted=False):
        self.sites, self._forked = sites, forked
        self.port = free_port()
        self.kits = provision(folder, sites, ports=(self.port, free_port()), encrypted=encrypted)
        self.admin = self.kits / ADMIN
        self.processes = {}
        self._nursery, self._programs = folder / "nursery", folder / "programs"
        write_stub(self._programs / "python3")
        for name in (SERVER, *sites):
            write_local_files(self.kits / name / "local", settings_file, settings(name), classes=classes)

    def start(self, name):
        kit = self.kits / name
        if self._forked:
            let_jobs_be_forked(kit / "local" / "resources.json")
        programs = self._programs if self._forked else PROGRAMS
        self._spawn(name, ["bash", str(kit / "startup" / "sub_start.sh"), "--once"], kit, programs)

    def start_all(self):
        if self._forked:
            nursery = [sys.executable, "-m", "tests.federated.flare.nursery", str(self._nursery)]
            self._spawn("nursery", nursery, REPOSITORY)
        for name in (SERVER, *self.sites):
            self.start(name)

    def _spawn(self, name, command, folder, programs=PROGRAMS):
        environment = {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            SOCKET: str(self._nursery),
        }
        with open(self.kits / f"{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )

    def worker(self, name, *, within=60.0):
        """The process of a hospital that does a job's work, or the stub that stands for it."""
        end = time.monotonic() + within
        while time.monotonic() < end:
            for process in psutil.process_iter():
                with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
                    words = process.cmdline()
                    if "worker_process" in " ".join(words) and str(self.kits / name) in words:
                        return process
            time.sleep(0.1)
        raise TimeoutError(f"no job's process of {name}")

    def kill(self, name):
        """All of a member's processes at once, as when its machine loses power."""
        started = self.processes.pop(name)
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in psutil.Process(started.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        started.kill()
        started.wait()

    def kill_all(self):
        for name in list(self.processes):
            self.kill(name)
