"""Learn to simulate one site's CTs from few labels, and measure what that is worth for segmentation.

python -m experiments.single_site --dataset=ct34lc
python -m experiments.single_site --dataset=ct20 --method=ours_fix_mat
"""

from absl import flags

from experiments import command

command.define_run("single_site")
command.define_method()
command.define_only_fold()
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    config = command.config_from_flags(**command.read_method())
    name = ("single_site", config.dataset, FLAGS.method)
    command.plan_and_run(_run, config, name=name, sites=(config.dataset,))


def _run(start) -> None:
    from fedsim_tf.runs.single_site import run_single_site

    run_single_site(start)


if __name__ == "__main__":
    command.main(run)
