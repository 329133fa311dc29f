"""Opens runs and runs them, as the commands do."""

from fedsim_tf.runs.federated import run_federated
from fedsim_tf.runs.single_site import run_single_site
from fedsim_tf.runs.start import open_run


def open_and_run(config, run_dir, *, cache_dir, only_fold=None):
    """Run a single site's configuration and return its metrics."""
    start = open_run(config, run_dir, sites=(config.dataset,), cache_dir=cache_dir, only_fold=only_fold)
    return run_single_site(start)


def open_and_run_federated(config, run_dir, *, cache_dir, **engine):
    """Run a federation's configuration and return its metrics."""
    start = open_run(config, run_dir, sites=config.federated.sites, cache_dir=cache_dir, federated=True)
    return run_federated(start, **engine)
