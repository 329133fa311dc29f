"""Read, check and prepare every volume of a data set, so that runs start at once and bad files are found first.

Every file that cannot be used is named. The others are described, and those that may be two scans of one person named.

python -m experiments.prepare --dataset=ct20 --data_root=/data/mmwhs
"""

from absl import flags

from experiments import command

command.define_config("prepare", preset="Sizes. Default: paper on real data, demo on the phantom cohort.")
command.define_path("report_dir", "Folder of the page that shows every volume. Default: runs/prepare-<data set>.")
flags.DEFINE_bool(
    "compare_scans",
    True,
    "Look for two scans of one person under two names: about two seconds a scan, at least half a second a pair of few.",
)
command.define_dry_run("Only find the files and say how many there are.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    import pathlib

    from fedsim_tf.data.remarks import collect_remarks
    from fedsim_tf.errors import Refusals
    from fedsim_tf.progress import count_text
    from fedsim_tf.runs.inputs import describe_source
    from fedsim_tf.tools.prepare import cohort_summary, open_preparation, prepare_dataset, write_page

    config = command.config_from_flags(usual_preset="paper" if FLAGS.data_root else "demo")
    with collect_remarks() as about_files:
        plan = open_preparation(config, cache_dir=command.cache_dir())
    source = describe_source(config, config.dataset)
    if FLAGS.dry_run:
        print(f"{source}: {count_text(plan.n_cases, 'case')}, {plan.n_annotated} of them annotated")
        return
    refusals = Refusals(config.dataset)
    with collect_remarks() as about_set:
        cases = prepare_dataset(plan, refusals=refusals, compare_scans=FLAGS.compare_scans)
    annotated = sum(case.label is not None for case in cases)
    print(f"{source}: {count_text(len(cases), 'case')}, {annotated} of them annotated", end="")
    print(f", prepared at {config.model.size}^3 voxels")
    print(f"least, median and most:\n{cohort_summary(cases, config)}")
    folder = pathlib.Path(FLAGS.report_dir or f"runs/prepare-{config.dataset}")
    page = write_page(plan, cases, folder, title=source, left_out=refusals.lines, remarks=[*about_files, *about_set])
    print(f"every volume in three planes: {page}")
    refusals.check()


if __name__ == "__main__":
    command.main(run)
