"""Runs' results, small enough to add up by hand."""

from fedsim_tf.metrics import MEASURES
from fedsim_tf.records.fold_scores import ArmScores, RegionScores
from fedsim_tf.records.run_metrics import RunFacts, RunMetrics

LOWER, FULL = (80.0, 84.0, 85.0), (83.0, 84.5, 89.0)


def scores(dice, *, cases=None, likeness=None, regions=None):
    """An arm's scores, of which each is another fraction of the Dice; regions by name and Dice."""
    values = {name: dice / (k + 1) for k, name in enumerate(MEASURES)}
    by_region = regions and {
        name: RegionScores(*(one / (k + 1) for k in range(5)), {}) for name, one in regions.items()
    }
    return ArmScores(**values, cases=cases or {}, likeness=likeness, regions=by_region)


def record(experiment, labelled, *, facts=None, **by_arm):
    """Return the results of a run at one site or several, given a Dice for each fold of each arm."""
    sites = labelled if isinstance(labelled, dict) else {"ct20": labelled}
    folds = tuple(
        {site: {arm: scores(values[k]) for arm, values in by_arm.items()} for site in sites}
        for k in range(len(next(iter(by_arm.values()))))
    )
    about = {"experiment": experiment, "labelled": labelled, "data": "phantom cohort (ct20)", **(facts or {})}
    return RunMetrics(facts=RunFacts(**about), folds=folds)


RECORDS = [
    record("single_site", 4, lower_bound=LOWER, ours_full=FULL),
    record("single_site", 4, poisson_blend=(75.0, 77.0)),
    record("federated", {"ct20": 8, "ct34lc": 12}, direct_fl=(90.0,), lower_bound=(85.0,)),
]
