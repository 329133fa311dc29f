"""The start of an audit of what a site has sent, opened and checked without TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from fedsim_tf.data.cohorts import Cohort
from fedsim_tf.errors import InputError
from fedsim_tf.federated.kept_rounds import KeptRound, list_kept_rounds, read_kept_round
from fedsim_tf.phantom.sites import SITES as PHANTOMS
from fedsim_tf.runs.inputs import check_files, describe_source, open_cohort
from fedsim_tf.training.run import CONFIG, SITES, RunFolder, reopen_run


class AuditedFold(NamedTuple):
    """The folder of a site in one fold, the fold's number and the rounds that the site has kept there."""

    run: RunFolder
    number: int
    rounds: Sequence[KeptRound]


@dataclasses.dataclass(frozen=True, eq=False)
class Audit:
    """What an audit starts from. `open_audit` makes it.

    Attributes:
      site: the site's name.
      dataset: the name of its data set.
      folds: those in which the site has kept rounds.
      cache_dir: where the phantom cohort and prepared volumes are kept.
    """

    site: str
    dataset: str
    folds: Sequence[AuditedFold]
    cache_dir: pathlib.Path

    @property
    def source(self) -> str:
        """Return where the data comes from, in the words that tables and pictures carry."""
        return describe_source(self.folds[0].run.config, self.dataset)

    @property
    def n_rounds(self) -> int:
        """Return how many rounds have been kept, over all folds."""
        return sum(len(fold.rounds) for fold in self.folds)

    @property
    def n_sent(self) -> int:
        """Return of how many volumes the generator's rounds have gradients; one of several rounds counts again."""
        return sum(len(one.batch) for fold in self.folds for one in fold.rounds if one.is_of_generator)

    def open_cohort(self) -> Cohort:
        """Return the site's cohort; phantoms are made on first use."""
        return open_cohort(self.folds[0].run.config, self.dataset, cache_dir=self.cache_dir)


def open_audit(
    run_dir: str | os.PathLike,
    site: str,
    *,
    dataset: str | None = None,
    stages: Sequence[str] = (),
    cache_dir: pathlib.Path,
) -> Audit:
    """Open the rounds that a site has kept of a federated run. Nothing is written.

    Args:
      run_dir: the run's folder, on this machine or at the hospital.
      site: the site's name.
      dataset: the name of the site's data set; None: the site's name.
      stages: those whose rounds are attacked; none: all.
      cache_dir: where the phantom cohort and prepared volumes are kept.

    Raises:
      InputError: no such run or site, a site that has kept no round of these stages, a damaged file, or data that is
        not there.
    """
    folders = sorted(pathlib.Path(run_dir).glob(f"fold_*/{SITES}/*/{CONFIG}"))
    if not folders:
        raise InputError(run_dir, found="no federated run with sites", expected="the folder of one, such as runs/first")
    names = sorted({file.parent.name for file in folders})
    if site not in names:
        raise InputError("site", value=site, must=f"be a site of {run_dir}: {', '.join(names)}")
    folds = [fold for file in folders if file.parent.name == site and (fold := _open_fold(file.parent, stages)).rounds]
    if not folds:
        found = f"no kept rounds of {site}" + (f" in {', '.join(stages)}" if stages else "")
        raise InputError(run_dir, found=found, expected="a run with federated.keep_sent above 0")
    audit = Audit(site, dataset or site, folds, cache_dir)
    _check_data(audit)
    return audit


def _open_fold(folder: pathlib.Path, stages: Sequence[str]) -> AuditedFold:
    number = re.fullmatch(r"fold_(\d+)", folder.parents[1].name)
    if number is None:
        raise InputError(folder, found="a site outside a fold's folder", expected="fold_<k>/sites/<site>")
    rounds = [read_kept_round(folder, file) for file in list_kept_rounds(folder)]
    return AuditedFold(reopen_run(folder), int(number[1]), [one for one in rounds if not stages or one.stage in stages])


def _check_data(audit: Audit) -> None:
    config = audit.folds[0].run.config
    check_files(config)
    if not config.is_phantom:
        audit.open_cohort()
    elif audit.dataset not in PHANTOMS:
        raise InputError("dataset", value=audit.dataset, must=f"be one that has phantoms: {', '.join(PHANTOMS)}")
