"""Try on what a site has sent what the server could read from it: latents, labels and coarse CTs of patients.

python -m experiments.federated --federated_keep_sent=2 --run_dir=runs/first
python -m experiments.federated_audit --run_dir=runs/first --site=ct34lc
python -m experiments.federated --method=direct_fl --federated_keep_sent=2 --run_dir=runs/direct
python -m experiments.federated_audit --run_dir=runs/direct --site=ct34lc
"""

from absl import flags

from experiments import command

command.define_path("run_dir", "Federated run whose sites have kept rounds (--federated_keep_sent).", required=True)
flags.DEFINE_string("site", None, "The site, which reads its own folder of the run.", required=True)
flags.DEFINE_string("dataset", None, "The site's kind of data. Default: the site's name.")
flags.DEFINE_list("stages", [], "Stages whose rounds are attacked, such as pretraining. Default: all that were kept.")
command.define_cache_dir()
command.define_dry_run("Only look for the kept rounds and the data.")
flags.adopt_module_key_flags(command)
FLAGS = flags.FLAGS


def run() -> None:
    from fedsim_tf.progress import count_text
    from fedsim_tf.tools.audit_start import open_audit

    audit = open_audit(
        FLAGS.run_dir, FLAGS.site, dataset=FLAGS.dataset, stages=FLAGS.stages, cache_dir=command.cache_dir()
    )
    where = ", ".join(str(fold.run.path) for fold in audit.folds)
    print(f"{audit.source}: {count_text(audit.n_rounds, 'kept round')} in {where}", flush=True)
    if FLAGS.dry_run:
        return
    from fedsim_tf.tools.audit import run_audit
    from fedsim_tf.tools.audit_table import summarize

    print(f"{summarize(run_audit(audit), n_sent=audit.n_sent)}; table and pictures in the folder audit there")


if __name__ == "__main__":
    command.main(run)
