"""Learns to simulate one site's CTs from few labels and measures what that is worth for segmentation.

python -m experiments.single_site --dataset=ct34lc
python -m experiments.single_site --dataset=ct20 --method=ours_fix_mat
"""

from absl import flags

from experiments import flags as command

command.define_common()
command.define_method()
command.define_only_fold()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.runs.single_site import run_single_site

    config = command.config_from_flags(**command.method())
    name = ("single_site", config.dataset, FLAGS.method)
    command.plan_and_run(run_single_site, config, name=name, sites=(config.dataset,))


if __name__ == "__main__":
    command.main(run)
