"""Many runs as one plan: jobs with dependencies, run by one or several processes or by a cluster."""

from fedsim_tf.grid.driver import Outcome, run_plan
from fedsim_tf.grid.launchers import Launcher, LocalProcesses, Submitit, local_speed
from fedsim_tf.grid.paper import Grid, left_out, paper_jobs
from fedsim_tf.grid.plan import Job, Plan
from fedsim_tf.grid.settings import keep_settings, settled

__all__ = [
    "Grid",
    "Job",
    "Launcher",
    "LocalProcesses",
    "Outcome",
    "Plan",
    "Submitit",
    "keep_settings",
    "left_out",
    "local_speed",
    "paper_jobs",
    "run_plan",
    "settled",
]
