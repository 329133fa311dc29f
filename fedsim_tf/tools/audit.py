"""What the server could make of the rounds that a site has sent: the attack, tried by the site on itself."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.evaluation.audit_figures import draw_findings
from fedsim_tf.evaluation.tables import MISSING, Table, format_table
from fedsim_tf.federated.attack.ct_recovery import Slope, make_perceptual_slope, recover_cts
from fedsim_tf.federated.attack.latent_recovery import CONVERGED, recover_latents
from fedsim_tf.federated.attack.reconstruction import (
    Finding,
    KnownPatients,
    compare_with_patients,
    load_shared_weights,
    reconstruct_patients,
)
from fedsim_tf.federated.kept_rounds import KeptRound
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
    """A patient of a round, as far as the attack has found him.

    Attributes:
      stage, round: the round.
      residual: how well the latent fits the gradients, see `RecoveredLatents`.
      finding: how near the reconstruction comes.
      is_read: whether the CT was read off the gradients, or is what the networks make of the latent.
    """

    stage: str
    round: int
    residual: float
    finding: Finding
    is_read: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether the latent is that of a patient."""
        return self.residual <= CONVERGED


def run_audit(audit: Audit) -> list[FoundPatient]:
    """Attack every kept round, and leave a table and a picture of each round in the site's folder of each fold.

    Returns:
      All patients that a reconstruction was paired with, by fold, stage and round.

    Raises:
      InputError: the data has changed since the run, or weights that do not fit its configuration.
    """
    found = []
    for fold in audit.folds:
        output = fold.run.path / FOLDER
        patients = list(_attack_fold(audit, fold, output))
        caption = f"What one round of {audit.site} gives away: {audit.source}, fold {fold.number}"
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
    for kept in fold.rounds:
        # Another scan's noise, or another loss than that of annotated volumes, would be taken for the patient.
        is_plain = annotated.issuperset(kept.batch) and not config.model.simulated_photons
        title = f"{audit.source}, fold {fold.number}"
        yield from _attack_round(kept, model, known, output, title=title, perceptual=perceptual if is_plain else None)


def _attack_round(
    kept: KeptRound,
    model: GenerativeModel,
    known: KnownPatients,
    output: pathlib.Path,
    *,
    title: str,
    perceptual: Slope | None,
) -> list[FoundPatient]:
    """Attack a round; `perceptual`: see `recover_cts`, None where CTs cannot be read off its gradients."""
    load_shared_weights(model, kept.weights)
    recovered = recover_latents(kept.weights, kept.gradients, len(kept.batch))
    made = reconstruct_patients(model, recovered.latents)
    read = None
    if perceptual is not None and recovered.n_exact == len(kept.batch):
        read = recover_cts(model, kept.gradients, recovered.latents, perceptual=perceptual)
        made = made._replace(coarse=read)
    findings = compare_with_patients(made, kept.batch, known)
    rows = {
        f"patient {finding.number}": (
            known.coarse[finding.number],
            made.coarse[finding.found],
            known.mean_of_others(finding.number),
        )
        for finding in findings
    }
    name = f"{kept.stage}-{kept.round:06d}"
    draw_findings(output / f"{name}.png", rows, title=f"{title}: {kept.stage}, round {kept.round}")
    residuals, is_read = recovered.residuals, read is not None
    return [FoundPatient(kept.stage, kept.round, float(residuals[one.found]), one, is_read) for one in findings]


def _make_table(patients: Sequence[FoundPatient]) -> Table:
    return Table(_HEADINGS, [_format_row(patient) for patient in patients])


def _format_row(patient: FoundPatient) -> list[str]:
    finding = patient.finding
    overlaps = (finding.dice, finding.dice_of_mean)
    return [
        *(patient.stage, str(patient.round), str(finding.number), f"{patient.residual:.1e}"),
        _OF_GRADIENTS if patient.is_read else _OF_LATENT,
        *(f"{value:.3f}" for value in (finding.correlation, finding.correlation_of_mean)),
        *(str(finding.rank), f"{finding.leakage:+.2f}"),
        *(MISSING if value is None else f"{value:.1f}" for value in overlaps),
    ]


def summarize(patients: Sequence[FoundPatient], *, n_sent: int) -> str:
    """Return in one line how many latents were exact, and how near all reconstructions come.

    Args:
      patients: those that `run_audit` has found.
      n_sent: of how many volumes the kept rounds had gradients.
    """
    exact = f"{sum(patient.is_exact for patient in patients)} of {n_sent} latents were recovered exactly"
    if not patients:
        return exact
    # A little noise leaves latents that are not exact and still show the patient: all reconstructions count.
    findings = [patient.finding for patient in patients]
    mean, of_mean, leakage = (
        float(np.mean([getattr(finding, name) for finding in findings]))
        for name in ("correlation", "correlation_of_mean", "leakage")
    )
    named = sum(finding.rank == 1 for finding in findings)
    return (
        f"{exact}; coarse CTs of the attack correlate with the patients' by {mean:.2f} on average, the mean of the "
        f"others by {of_mean:.2f} (relative data leakage value {leakage:+.2f}); "
        f"{named} of {len(findings)} are most like the right patient"
    )
