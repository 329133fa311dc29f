"""FLARE's launchers of job processes, which here start the stub of tests.federated.flare.nursery."""

import pathlib
import sys

from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher

_STUB = f"{sys.executable} -I -S {pathlib.Path(__file__).with_name('nursery.py')}"


class ForkingClientLauncher(ClientProcessJobLauncher):
    """Launches a hospital's part of a job."""

    def get_command(self, job_meta, fl_ctx):
        return super().get_command(job_meta, fl_ctx).replace(sys.executable, _STUB, 1)


class ForkingServerLauncher(ServerProcessJobLauncher):
    """Launches the server's part of a job."""

    def get_command(self, job_meta, fl_ctx):
        return super().get_command(job_meta, fl_ctx).replace(sys.executable, _STUB, 1)


LAUNCHERS = {base: kind for kind in (ForkingClientLauncher, ForkingServerLauncher) for base in kind.__bases__}


def class_path(kind: type) -> str:
    """Return the path by which FLARE's settings name a class."""
    return f"{kind.__module__}.{kind.__qualname__}"
