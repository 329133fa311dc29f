"""Compare finished runs: tables of their arms' scores, and paired tests over the patients and folds that they share.

python -m experiments.compare --run=runs/a --run=runs/b --output=compared
"""

from absl import flags

from experiments import command

command.define_paths(
    "run", "Folder of a run of which at least one fold is finished. May be given several times.", required=True
)
command.define_path("output", "Folder for comparison.md and CSV files. Default: tables are printed only.")
command.define_dry_run("Only check the runs, and say in what they differ.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.progress import count_text
    from fedsim_tf.tools.compare_runs import format_comparison, open_comparison, write_comparison

    comparison = open_comparison(FLAGS.run, FLAGS.output)
    if FLAGS.dry_run:
        for one in comparison.runs:
            folds = len({place.number for place in one.scores})
            print(f"{one.name}: {count_text(folds, 'finished fold')}, {count_text(len(one.tested()), 'test patient')}")
        for line in comparison.remarks:
            print(line)
        return
    print(format_comparison(comparison), end="")
    if FLAGS.output:
        write_comparison(comparison, FLAGS.output)
        print(f"Written to {FLAGS.output}")


if __name__ == "__main__":
    command.main(run)
