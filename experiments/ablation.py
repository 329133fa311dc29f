"""Make Table 2: what learnt shapes and the enhancement network are worth, each network trained on synthetic volumes.

python -m experiments.ablation
"""

from absl import flags

from experiments import command
from fedsim_tf.arms import ABLATION

command.define_run("ablation")
command.define_only_fold()
flags.adopt_module_key_flags(command)


def run() -> None:
    config = command.config_from_flags(dataset="ct20", segmentation={"arms": ABLATION})
    command.plan_and_run(_run, config, name=("ablation", config.dataset), sites=(config.dataset,))


def _run(start) -> None:
    from fedsim_tf.runs.single_site import run_single_site

    run_single_site(start)


if __name__ == "__main__":
    command.main(run)
