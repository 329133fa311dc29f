"""A process that has imported what FLARE needs, and forks each of FLARE's processes instead of it starting anew.

    python -m tests.federated.flare.nursery SOCKET

A member's process imports FLARE, and a job's process TensorFlow and this project too, for seconds before it does
anything, and tests start dozens. What runs in it is what would run in a process of its own: FLARE's module, with its
arguments, environment, folder and output. In the place of Python a stub is started that asks for it here, ends when it
ends, and takes it along when killed.
"""

import array
import contextlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import struct
import sys
import time

SOCKET = "FEDSIM_TEST_NURSERY"  # variable with the path of the socket
STUB = (sys.executable, "-I", "-S", os.path.abspath(__file__))
# FLARE's modules that are run as programs: a member's own process, and that of its part in a job.
PROGRAMS = ("client.client_train", "client.worker_process", "server.server_train", "server.runner_process")
LENGTH = struct.Struct("!I")


def serve(path: str) -> None:
    """Answer stubs until the process is killed. Returns in a forked process alone, which is to run its program."""
    import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for wardens
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        while True:
            stub, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                return guard(stub)
            stub.close()


def import_all() -> None:
    """Import what members and jobs import; programs themselves are imported once more when they are run."""
    import psutil  # noqa: F401
    import sklearn.covariance  # noqa: F401
    import tensorflow  # noqa: F401

    import fedsim_tf.runs.flare_fold  # noqa: F401
    from tests.federated.flare import fold, toy_job  # noqa: F401

    for program in PROGRAMS:
        module = f"nvflare.private.fed.app.{program}"
        importlib.import_module(module)
        del sys.modules[module]


def guard(stub: socket.socket) -> None:
    """Fork a process and tell the stub how it ended; kill it and its own ones if the stub is gone.

    Returns in the forked process alone.
    """
    request, outputs = receive(stub)
    forked = os.fork()
    if forked == 0:
        stub.close()
        return become(request, outputs)
    ended = os.pidfd_open(forked)
    ready, *_ = select.select([stub.fileno(), ended], [], [])
    if ended not in ready:
        kill_with_children(forked)
    status = os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1])
    if ended in ready:
        stub.sendall(str(status).encode())
    os._exit(0)


def kill_with_children(process: int) -> None:
    """Kill a process and all that it has started, at once: stubs among these take along what they stand for."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def receive(stub: socket.socket) -> tuple[dict, list[int]]:
    """Return arguments, environment and folder of a program, and its standard output and error."""
    outputs = array.array("i")
    head, (ancillary,), *_ = stub.recvmsg(LENGTH.size, socket.CMSG_SPACE(2 * outputs.itemsize))
    outputs.frombytes(ancillary[2])
    (left,), text = LENGTH.unpack(head), b""
    while len(text) < left:
        text += stub.recv(left - len(text))
    return json.loads(text), list(outputs)


def become(request: dict, outputs: list[int]) -> None:
    """Take on a program's session, environment, folder, output, arguments and random state."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    sys.stdout.reconfigure(line_buffering=True)
    sys.path[:0] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.argv = request["arguments"]
    random.seed()


def ask() -> None:
    """Run this process's program in a fork of the nursery and end as it ends: the stub's part."""
    program = sys.argv[sys.argv.index("-m") + 1 :]
    request = {"arguments": program, "environment": dict(os.environ), "folder": os.getcwd()}
    text = json.dumps(request).encode()
    with socket.socket(socket.AF_UNIX) as nursery:
        while nursery.connect_ex(os.environ[SOCKET]):  # it may still be importing
            time.sleep(0.1)
        socket.send_fds(nursery, [LENGTH.pack(len(text))], [1, 2])
        nursery.sendall(text)
        status = int(nursery.recv(16) or -signal.SIGKILL)
    if status < 0:
        os.kill(os.getpid(), -status)
    sys.exit(status)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        serve(sys.argv[1])
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        ask()
