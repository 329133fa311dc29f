"""The learner of a run's first fold, with its data, for benchmarks that look at what a run has learnt."""

import pathlib

from fedsim_tf.runs.start import open_run
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.run import RunFolder, reopen_run


def open_learner(path: pathlib.Path, *, cache_dir: pathlib.Path) -> tuple[RunFolder, SiteLearner]:
    """Return the folder of fold 0 of a run of `experiments.single_site`, and its learner, still untrained.

    Args:
      path: the run's folder.
      cache_dir: where its prepared volumes are.
    """
    run, whole = reopen_run(path / "fold_0"), reopen_run(path).config
    dataset = run.config.dataset
    start = open_run(whole, path, sites=(dataset,), cache_dir=cache_dir, federated=False)
    return run, SiteLearner(run.config, start.shape_model, start.open_fold(dataset, 0), start.vgg)
