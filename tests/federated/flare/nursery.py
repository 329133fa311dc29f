"""A process that has imported what jobs of FLARE need, and forks each job's process instead of it starting anew.

    python -m tests.federated.flare.nursery SOCKET

A job's process imports TensorFlow, FLARE and this project for seconds before it does anything, and tests start dozens.
What runs in it is what would run in a process of its own: FLARE's module, with its arguments, environment, folder and
output. `launchers` has FLARE start a stub that asks for it here, ends when it ends, and takes it along when killed.
"""

import array
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
LENGTH = struct.Struct("!I")


def serve(path: str) -> None:
    """Answer stubs until the process is killed. Returns in a job's process alone, which is to run that job."""
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
    """Import what jobs import; the modules that FLARE runs as a program are imported once more there."""
    import sklearn.covariance  # noqa: F401
    import tensorflow  # noqa: F401
    from nvflare.private.fed.app.client import worker_process  # noqa: F401
    from nvflare.private.fed.app.server import runner_process  # noqa: F401

    import fedsim_tf.runs.flare_fold  # noqa: F401
    from tests.federated.flare import fold, toy_job  # noqa: F401

    for program in ("client.worker_process", "server.runner_process"):
        del sys.modules[f"nvflare.private.fed.app.{program}"]


def guard(stub: socket.socket) -> None:
    """Fork a job's process and tell the stub how it ended; kill it if the stub is gone. Returns in the job alone."""
    request, outputs = receive(stub)
    job = os.fork()
    if job == 0:
        stub.close()
        return become(request, outputs)
    ended = os.pidfd_open(job)
    ready, *_ = select.select([stub.fileno(), ended], [], [])
    if ended not in ready:
        os.kill(job, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    if ended in ready:
        stub.sendall(str(status).encode())
    os._exit(0)


def receive(stub: socket.socket) -> tuple[dict, list[int]]:
    """Return arguments, environment and folder of a job, and its standard output and error."""
    outputs = array.array("i")
    head, (ancillary,), *_ = stub.recvmsg(LENGTH.size, socket.CMSG_SPACE(2 * outputs.itemsize))
    outputs.frombytes(ancillary[2])
    (left,), text = LENGTH.unpack(head), b""
    while len(text) < left:
        text += stub.recv(left - len(text))
    return json.loads(text), list(outputs)


def become(request: dict, outputs: list[int]) -> None:
    """Take on a job's session, environment, folder, output, arguments and random state."""
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
    """Run this process's job in a fork of the nursery and end as it ends: the stub's part."""
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
