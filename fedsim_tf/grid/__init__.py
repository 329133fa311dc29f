"""Many runs as one plan: jobs with dependencies, run by one or several processes or by a cluster."""

from fedsim_tf.grid.driver import Outcome, run_plan
from fedsim_tf.grid.launchers import Launcher, LocalProcesses, Submitit
from fedsim_tf.grid.paper import Grid, paper_jobs
from fedsim_tf.grid.plan import Job, Plan

__all__ = [
    "Grid",
    "Job",
    "Launcher",
    "LocalProcesses",
    "Outcome",
    "Plan",
    "Submitit",
    "paper_jobs",
    "run_plan",
]
