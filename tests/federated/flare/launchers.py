"""FLARE's launchers of job processes, which here start the stub of tests.federated.flare.nursery."""

import sys

from nvflare.app_common.job_launcher.client_process_launcher import ClientProcessJobLauncher
from nvflare.app_common.job_launcher.server_process_launcher import ServerProcessJobLauncher

from tests.federated.flare.nursery import STUB


class _Forking:
    """Puts the stub where FLARE's command has Python."""

    def get_command(self, job_meta, fl_ctx):
        return super().get_command(job_meta, fl_ctx).replace(sys.executable, " ".join(STUB), 1)


class ForkingClientLauncher(_Forking, ClientProcessJobLauncher):
    """Launches a hospital's part of a job."""


class ForkingServerLauncher(_Forking, ServerProcessJobLauncher):
    """Launches the server's part of a job."""


LAUNCHERS = {
    ClientProcessJobLauncher: ForkingClientLauncher,
    ServerProcessJobLauncher: ForkingServerLauncher,
}
