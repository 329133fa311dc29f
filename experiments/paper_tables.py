"""Make the paper's tables: plan every run behind them, run what is not done yet, and write the tables.

python -m experiments.paper_tables
python -m experiments.paper_tables --label_kinds=heart,regions
python -m experiments.paper_tables --sites=ct20 --parts=single_site --label_sizes=fewer --preset=small --data_folds=3
"""

import contextlib
import pathlib
import signal

from absl import flags

from experiments import command
from fedsim_tf.arms import BEYOND_PAPER, FEDERATED_PLUS, FEDERATED_ROWS, PARTS, SINGLE_SITE_ROWS
from fedsim_tf.config import LABEL_SIZES, PAPER_LABELS
from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.regions import HEART, LABEL_KINDS

SITES = tuple(PAPER_LABELS)
LAUNCHERS = ("local", "slurm", "submitit_local")

command.define_config("paper_tables")
command.define_path("schedule_dir", "Folder of all runs; the same command again goes on. Default: below runs/.")
command.define_dry_run("Only say what would run and about how long.")
flags.DEFINE_bool("tables_only", False, "Only make the tables of the runs that have finished.")
flags.DEFINE_list("sites", list(SITES), "Data sets of the single-site rows.")
flags.DEFINE_list("label_sizes", list(LABEL_SIZES), "Of the paper's two numbers of annotated volumes: fewer, more.")
flags.DEFINE_list(
    "label_kinds", [HEART], "What networks tell apart, of: heart (paper), regions; each has its own runs."
)
flags.DEFINE_list(
    "arms",
    list(SINGLE_SITE_ROWS),
    f"Single-site rows. Beyond the paper's there are {', '.join(BEYOND_PAPER)}. The upper bound is run once a site.",
)
flags.DEFINE_list("federated_arms", list(FEDERATED_ROWS), f"Federated rows; beyond the paper: {FEDERATED_PLUS}.")
flags.DEFINE_list("parts", list(PARTS), f"What to make, of: {', '.join(PARTS)}.")
flags.DEFINE_integer("processes", 1, "Jobs at a time.", lower_bound=1)
flags.DEFINE_enum("launcher", "local", LAUNCHERS, "Where jobs run: here, or through submitit (pip extra [cluster]).")
flags.DEFINE_list("cluster", [], "submitit's parameters, such as slurm_partition=gpu,timeout_min=1440,cpus_per_task=8.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.progress import duration
    from fedsim_tf.schedule.paper_runs import explain_left_out, paper_jobs
    from fedsim_tf.schedule.plan import Plan, count_jobs

    _check_flags()
    wanted = _wanted_runs()
    plan = Plan(paper_jobs(wanted, _read_costs()), _plan_folder(wanted.root))
    plan.check_unchanged()
    speed = _speed(wanted.config)
    print(plan.describe(processes=FLAGS.processes, speed=speed))
    for line in explain_left_out(wanted):
        print(line)
    if FLAGS.dry_run:
        return
    from fedsim_tf.schedule.paper_report import FIGURE_3, draw_figure_3, write_schedule_page, write_tables

    outcome = None if FLAGS.tables_only else _run(plan, wanted.config, speed)
    files = plan.metrics()
    made = write_tables(wanted.root / "tables", files)
    draw_figure_3(wanted.root / FIGURE_3, files)
    page = write_schedule_page(wanted.root, files, made)
    took = duration(plan.seconds_recorded())
    print(f"Tables: {wanted.root / 'tables' / 'tables.md'}; all jobs together took {took}")
    print(f"Pages of all runs: {page}")
    if outcome is not None and outcome.failed:
        raise RunStopped(
            f"{count_jobs(len(outcome.failed))} failed: {', '.join(outcome.failed)}; "
            f"{count_jobs(len(outcome.waiting))} waiting for what failed; "
            f"logs are in {plan.folder / 'logs'}; the same command again tries them once more"
        )


def _check_flags():
    if FLAGS.cluster and FLAGS.launcher == "local":
        value = ",".join(FLAGS.cluster)
        raise InputError("cluster", value=value, must="be given with --launcher=slurm or submitit_local")
    if FLAGS.tables_only and FLAGS.dry_run:
        raise InputError("tables_only", value="given with --dry_run", must="be given alone")


def _wanted_runs():
    from fedsim_tf.schedule.paper_runs import check_runs
    from fedsim_tf.schedule.settings import settle_config

    known = {
        "sites": SITES,
        "label_sizes": LABEL_SIZES,
        "label_kinds": LABEL_KINDS,
        "parts": PARTS,
        "arms": tuple(dict.fromkeys((*SINGLE_SITE_ROWS, *BEYOND_PAPER))),
        "federated_arms": (*FEDERATED_ROWS, FEDERATED_PLUS),
    }
    chosen = {name: tuple(FLAGS[name].value or ()) for name in known}
    for name, choices in known.items():
        wrong = [value for value in chosen[name] if value not in choices]
        if wrong or not chosen[name]:
            raise InputError(name, value=",".join(wrong) or "empty", must=f"be of {', '.join(choices)}")
    config = command.config_from_flags(data={"folds": 5})
    if FLAGS.launcher == "slurm" and config.model.precision == "auto":
        must = "be float32 or bfloat16, as this machine may be another kind than those that compute"
        raise InputError("model.precision", value="auto", must=must)
    root = pathlib.Path(FLAGS.schedule_dir or f"runs/paper_tables-{config.preset}")
    if FLAGS.tables_only and not _plan_folder(root).is_dir():
        raise InputError("schedule_dir", value=root, must="be the folder of a schedule that has been started")
    if not FLAGS.tables_only:  # tables may be made where the data is not
        check_runs(_runs_of(config, root, chosen), cache_dir=command.cache_dir())
    return _runs_of(settle_config(config, _plan_folder(root)), root, chosen)


def _runs_of(config, root, chosen):
    from fedsim_tf.schedule.paper_runs import PaperRuns

    flags_of_runs = command.flags_given() | {
        "preset": config.preset,
        "data_folds": config.data.folds,
        "model_precision": config.model.precision,
    }
    given = tuple(f"--{name}={value}" for name, value in flags_of_runs.items())
    return PaperRuns(config=config, flags=given, root=root, **chosen)


def _plan_folder(root):
    return root / "plan"


def _read_costs():
    """Return what steps take on this machine, or on one that nothing is known of where another one computes."""
    from fedsim_tf.records.step_times import read_step_times
    from fedsim_tf.runs.step_costs import StepCosts

    return StepCosts(None if FLAGS.launcher == "slurm" else read_step_times(command.cache_dir()))


def _speed(config):
    from fedsim_tf.runs.estimate import count_useful_cores
    from fedsim_tf.schedule.launchers import estimate_local_speed

    if FLAGS.launcher == "slurm":
        return float(FLAGS.processes)
    return estimate_local_speed(FLAGS.processes, cores_used=count_useful_cores(config))


def _run(plan, config, speed):
    from fedsim_tf.schedule.driver import run_plan
    from fedsim_tf.schedule.settings import keep_settings

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # being ended is being interrupted: jobs end too
    launcher = _launcher(plan.folder)
    keep_settings(config, plan.folder)
    return run_plan(plan, launcher, processes=FLAGS.processes, speed=speed)


def _launcher(folder):
    from fedsim_tf.schedule.launchers import LocalProcesses, Submitit

    if FLAGS.launcher == "local":
        return LocalProcesses(folder, processes=FLAGS.processes)
    return Submitit(folder, cluster="local" if FLAGS.launcher == "submitit_local" else "slurm", **_parameters())


def _parameters():
    pairs = [text.partition("=") for text in FLAGS.cluster]
    wrong = [name for name, sign, _ in pairs if not sign]
    if wrong:
        raise InputError("cluster", value=wrong[0], must="be name=value")
    return {name: _number_if_one(value) for name, _, value in pairs}


def _number_if_one(text):
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


if __name__ == "__main__":
    command.main(run)
