"""The patients that an audit has found, as a table and in one line."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fedsim_tf.evaluation.tables import MISSING, Table
from fedsim_tf.federated.attack.latent_recovery import CONVERGED
from fedsim_tf.federated.attack.reconstruction import Finding

# What a reconstructed CT is made of: a recovered latent; the material network's gradients; a U-Net's, with or without
# maps that linear algebra has found in them.
OF_LATENT, OF_GRADIENTS, OF_MAPS, OF_DESCENT = "latent", "gradients", "maps", "descent"
_HEADINGS = (
    *("stage", "round", "patient", "residual", "CT from", "correlation", "of the others' mean", "rank"),
    *("leakage", "Dice %", "of the mean shape"),
)


class FoundPatient(NamedTuple):
    """A patient of a round, or of many rounds together, as far as the attack has found him.

    Attributes:
      stage: the stage.
      first, last: the first and the last round; one number where it is one round.
      residual: how well the latent fits the gradients, see `RecoveredLatents`; of a U-Net's round the volume, see
        `InvertedVolume.distance`.
      finding: how near the reconstruction comes.
      source: what the CT is made of, one of this module's constants.
    """

    stage: str
    first: int
    last: int
    residual: float
    finding: Finding
    source: str

    @property
    def is_exact(self) -> bool:
        """Whether the latent is that of a patient."""
        return not self.is_of_unet and self.residual <= CONVERGED

    @property
    def is_of_unet(self) -> bool:
        """Whether a segmentation network was shared in this round."""
        return self.source in (OF_MAPS, OF_DESCENT)

    @property
    def is_pooled(self) -> bool:
        """Whether many rounds were attacked together."""
        return self.first != self.last


def make_table(patients: Sequence[FoundPatient]) -> Table:
    """Return a row for each patient."""
    return Table(_HEADINGS, [_format_row(patient) for patient in patients])


def _format_row(patient: FoundPatient) -> list[str]:
    finding = patient.finding
    overlaps = (finding.dice, finding.dice_of_mean)
    return [
        *(patient.stage, _range_text(patient), str(finding.number), f"{patient.residual:.1e}"),
        patient.source,
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
      n_sent: of how many volumes the kept rounds of the generator had gradients; 0: there are no such rounds.
    """
    inverted = [patient for patient in patients if patient.is_of_unet]
    texts = [_summarize_generator([one for one in patients if not one.is_of_unet], n_sent)] if n_sent else []
    if inverted:
        texts.append(f"CTs found in the gradients of the segmentation network {_describe(inverted)}")
    return "; ".join(texts)


def _summarize_generator(patients: Sequence[FoundPatient], n_sent: int) -> str:
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
