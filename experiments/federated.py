"""Learns one shape and material model over several sites and measures at each what that is worth for segmentation.

python -m experiments.federated
python -m experiments.federated --method=direct_fl
python -m experiments.federated --engine=nvflare
python -m experiments.federated --engine=nvflare --flare_kit=kits/fedsim/prod_00/admin@example.org
"""

import pathlib

from absl import flags

from experiments import flags as command
from fedsim_tf.arms import ARMS, federate_arms
from fedsim_tf.config import merge
from fedsim_tf.errors import InputError

command.define_common()
command.define_method()
command.define_only_fold()
flags.DEFINE_enum("engine", "in_process", ["in_process", "nvflare"], "What carries tasks and answers.")
flags.DEFINE_string(
    "flare_kit",
    None,
    "An admin's kit, to run on its FLARE system (docs/federated.md); else nvflare means its simulator.",
)
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS
# Section 3: every 3D U-Net of the federated comparison uses three volumes a step.
PAPER = {"segmentation": {"batch": 3, "arms": ("lower_bound", "direct_fl", "ours_sim_fl", "upper_bound")}}


def run() -> None:
    several = federate_arms(ARMS)
    if FLAGS.method and FLAGS.method not in several:
        raise InputError("--method", found=f"{FLAGS.method}, of a single site", expected=f"of {', '.join(several)}")
    config = command.config_from_flags(**merge(PAPER, command.method()))
    sites = config.federated.sites
    if FLAGS.flare_kit and FLAGS.engine != "nvflare":
        raise InputError("--flare_kit", found=f"--engine={FLAGS.engine}", expected="--engine=nvflare with it")
    elsewhere = bool(FLAGS.flare_kit)
    command.plan_and_run(
        _deployed if elsewhere else _here,
        config,
        name=("federated", *sites, FLAGS.method),
        sites=sites,
        federated=True,
        elsewhere=elsewhere,
    )


def _here(config, run_dir, *, cache_dir, only_fold):
    from fedsim_tf.runs.federated import run_federated

    run_federated(config, run_dir, cache_dir=cache_dir, only_fold=only_fold, engine=FLAGS.engine)


def _deployed(config, run_dir, *, only_fold, **_):
    from fedsim_tf.runs.federated import check_flare

    check_flare()
    from fedsim_tf.runs.on_flare import deploy

    deploy(config, pathlib.Path(run_dir).name, pathlib.Path(FLAGS.flare_kit), only_fold=only_fold)


if __name__ == "__main__":
    command.main(run)
