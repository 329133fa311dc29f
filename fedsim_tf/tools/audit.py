"""What the server could make of the rounds that a site has sent: the attack, tried by the site on itself."""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.evaluation.audit_figures import draw_findings
from fedsim_tf.evaluation.tables import MISSING, Table, format_table
from fedsim_tf.federated.attack.ct_recovery import Slope, make_perceptual_slope, recover_cts
from fedsim_tf.federated.attack.latent_recovery import CONVERGED, recover_latents
from fedsim_tf.federated.attack.pooled_rounds import AttackedRounds, list_pools
from fedsim_tf.federated.attack.reconstruction import (
    Finding,
    KnownPatients,
    compare_with_patients,
    load_shared_weights,
    reconstruct_patients,
)
from fedsim_tf.files import write_text
from fedsim_tf.runs.inputs import count_labels, open_fold, open_shape_model, open_vgg
from fedsim_tf.runs.same_data import compare_with_note
from fedsim_tf.synthesis import GenerativeModel
from fedsim_tf.tools.audit_start import Audit, AuditedFold

FOLDER = "audit"  # within the site's own folder: pictures of patients do not leave it
_HEADINGS = (
    *("stage", "round", "patient", "residual", "CT from", "correlation", "of the others' mean", "rank"),
    *("leakage", "Dice %", "of the mean shape"),
)
_OF_LATENT, _OF_GRADIENTS = "latent", "gradients"  # what a reconstructed CT is made of


class FoundPatient(NamedTuple):
    """A patient of a round, or of many rounds together, as far as the attack has found him.

    Attributes:
      stage: the stage.
      first, last: the first and the last round; one number where it is one round.
      residual: how well the latent fits the gradients, see `RecoveredLatents`.
      finding: how near the reconstruction comes.
      is_read: whether the CT was read off the gradients, or is what the networks make of the latent.
    """

    stage: str
    first: int
    last: int
    residual: float
    finding: Finding
    is_read: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the latent is that of a patient."""
        return self.residual <= CONVERGED

    @property
    def is_pooled(self) -> bool:
        """Whether many rounds were attacked together."""
        return self.first != self.last


def run_audit(audit: Audit) -> list[FoundPatient]:
    """Attack every kept round and many of them together; leave a table and pictures in the site's folder of each fold.

    Returns:
      All patients that a reconstruction was paired with, by fold: of single rounds by stage and round, then of pools.

    Raises:
      InputError: the data has changed since the run, or weights that do not fit its configuration.
    """
    found = []
    for fold in audit.folds:
        output = fold.run.path / FOLDER
        patients = list(_attack_fold(audit, fold, output))
        caption = f"What rounds of {audit.site} give away: {audit.source}, fold {fold.number}"
        write_text(output / "audit.md", format_table(_make_table(patients), "md", caption))
        found += patients
    return found


def _attack_fold(audit: Audit, fold: AuditedFold, output: pathlib.Path) -> Iterator[FoundPatient]:
    config = fold.run.config
    n_labelled = count_labels(config, audit.dataset, federated=True)
    cohort = audit.open_cohort()
    data = open_fold(config, cohort, fold=fold.number, n_labelled=n_labelled, cache_dir=audit.cache_dir)
    compare_with_note(fold.run.path, config, data)
    model = GenerativeModel(config, open_shape_model(config), data.field_of_view_mm)
    known, annotated = KnownPatients.at_site(data, model), set(data.labelled.identities)
    perceptual = make_perceptual_slope(open_vgg(config), weight=config.pretraining.perceptual_weight)
    single = [AttackedRounds(one.round, one) for one in fold.rounds]
    for rounds in (*single, *list_pools(fold.rounds, most_volumes=config.model.latent)):
        # Another scan's noise, or another loss than that of annotated volumes, would be taken for the patient.
        is_plain = annotated.issuperset(rounds.mean.batch) and not config.model.simulated_photons
        title = f"{audit.source}, fold {fold.number}"
        yield from _attack(rounds, model, known, output, title=title, perceptual=perceptual if is_plain else None)


def _attack(
    rounds: AttackedRounds,
    model: GenerativeModel,
    known: KnownPatients,
    output: pathlib.Path,
    *,
    title: str,
    perceptual: Slope | None,
) -> list[FoundPatient]:
    """Attack a round or the mean of many; `perceptual`: see `recover_cts`, None where CTs cannot be read off."""
    kept = rounds.mean
    load_shared_weights(model, kept.weights)
    recovered = recover_latents(kept.weights, kept.gradients, len(kept.batch))
    made = reconstruct_patients(model, recovered.latents)
    read = None
    if perceptual is not None and recovered.n_exact == len(kept.batch):
        read = recover_cts(model, kept.gradients, recovered.latents, perceptual=perceptual)
        made = made._replace(coarse=read)
    findings = compare_with_patients(made, kept.batch, known)
    pictures = {
        f"patient {finding.number}": (
            known.coarse[finding.number],
            made.coarse[finding.found],
            known.mean_of_others(finding.number),
        )
        for finding in findings
    }
    first, last = rounds.first, kept.round
    file = f"{kept.stage}-{last:06d}.png" if first == last else f"{kept.stage}-{first:06d}-to-{last:06d}.png"
    words = f"round {last}" if first == last else f"mean of rounds {first} to {last}"
    draw_findings(output / file, pictures, title=f"{title}: {kept.stage}, {words}")
    residuals, is_read = recovered.residuals, read is not None
    return [FoundPatient(kept.stage, first, last, float(residuals[one.found]), one, is_read) for one in findings]


def _make_table(patients: Sequence[FoundPatient]) -> Table:
    return Table(_HEADINGS, [_format_row(patient) for patient in patients])


def _format_row(patient: FoundPatient) -> list[str]:
    finding = patient.finding
    overlaps = (finding.dice, finding.dice_of_mean)
    return [
        *(patient.stage, _range_text(patient), str(finding.number), f"{patient.residual:.1e}"),
        _OF_GRADIENTS if patient.is_read else _OF_LATENT,
        *(f"{value:.3f}" for value in (finding.correlation, finding.correlation_of_mean)),
        *(str(finding.rank), f"{finding.leakage:+.2f}"),
        *(MISSING if value is None else f"{value:.1f}" for value in overlaps),
    ]


def _range_text(patient: FoundPatient) -> str:
    return f"{patient.first} to {patient.last}" if patient.is_pooled else str(patient.last)


def summarize(patients: Sequence[FoundPatient], *, n_sent: int) -> str:
    """Return in one line how many latents were exact, and how near reconstructions come, of single rounds and of many.

    Args:
      patients: those that `run_audit` has found.
      n_sent: of how many volumes the kept rounds had gradients.
    """
    single = [patient for patient in patients if not patient.is_pooled]
    text = f"{sum(patient.is_exact for patient in single)} of {n_sent} latents were recovered exactly"
    if single:
        text += f"; coarse CTs of the attack {_describe(single)}"
    pools = collections.defaultdict(list)
    for patient in patients:
        if patient.is_pooled:
            pools[patient.last - patient.first + 1].append(patient)
    if pools:  # the worst of them: a curious server tries all
        size = max(pools, key=lambda size: (_count_named(pools[size]), _mean_of(pools[size], "correlation")))
        text += f"; those of {size} rounds together {_describe(pools[size])}"
    return text


def _describe(patients: Sequence[FoundPatient]) -> str:
    # A little noise leaves latents that are not exact and still show the patient: all reconstructions count.
    named = f"{_count_named(patients)} of {len(patients)} are most like the right patient"
    return (
        f"correlate with the patients' by {_mean_of(patients, 'correlation'):.2f} on average, the mean of the "
        f"others by {_mean_of(patients, 'correlation_of_mean'):.2f} (relative data leakage value "
        f"{_mean_of(patients, 'leakage'):+.2f}); {named}"
    )


def _count_named(patients: Sequence[FoundPatient]) -> int:
    return sum(patient.finding.rank == 1 for patient in patients)


def _mean_of(patients: Sequence[FoundPatient], measure: str) -> float:
    return float(np.mean([getattr(patient.finding, measure) for patient in patients]))
