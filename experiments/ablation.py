"""Table 2: what learnt shapes and the enhancement network are worth, each network trained on synthetic volumes alone.

python -m experiments.ablation
"""

from absl import flags

from experiments import flags as command
from fedsim_tf.arms import ABLATION

command.define_common()
command.define_only_fold()
flags.adopt_module_key_flags(command)


def run() -> None:
    from fedsim_tf.runs.single_site import run_single_site

    config = command.config_from_flags(dataset="ct20", segmentation={"arms": ABLATION})
    command.plan_and_run(run_single_site, config, name=("ablation", config.dataset), sites=(config.dataset,))


if __name__ == "__main__":
    command.main(run)
