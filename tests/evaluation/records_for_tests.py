"""Runs' records, small enough to add up by hand."""

LOWER, FULL = (80.0, 84.0, 85.0), (83.0, 84.5, 89.0)


def record(experiment, labelled, **by_arm):
    """What a run's metrics.json would say of one site or several: arm to a Dice for each fold."""
    sites = labelled if isinstance(labelled, dict) else {"ct20": labelled}
    folds = [
        {site: {arm: {"dice": v[k], "hd95_mm": v[k] / 10} for arm, v in by_arm.items()} for site in sites}
        for k in range(len(next(iter(by_arm.values()))))
    ]
    return {"facts": {"experiment": experiment, "labelled": labelled}, "folds": folds}


RECORDS = [
    record("single_site", 4, lower_bound=LOWER, ours_full=FULL),
    record("single_site", 4, poisson_blend=(75.0, 77.0)),
    record("federated", {"ct20": 8, "ct34lc": 12}, direct_fl=(90.0,), lower_bound=(85.0,)),
]
