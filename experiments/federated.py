"""Learns one shape and material model over several sites and measures at each what that is worth for segmentation.

python -m experiments.federated
python -m experiments.federated --method=direct_fl
"""

from absl import flags

from experiments import flags as command
from fedsim_tf.config import merge

command.define_common()
command.define_method()
command.define_only_fold()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS
# Section 3: every 3D U-Net of the federated comparison uses three volumes a step.
PAPER = {"segmentation": {"batch": 3, "arms": ("lower_bound", "direct_fl", "ours_sim_fl", "upper_bound")}}


def run() -> None:
    from fedsim_tf.jobs.federated import run_federated

    config = command.config_from_flags(**merge(PAPER, command.method()))
    sites = config.federated.sites
    command.plan_and_run(run_federated, config, name=("federated", *sites, FLAGS.method), sites=sites, federated=True)


if __name__ == "__main__":
    command.main(run)
