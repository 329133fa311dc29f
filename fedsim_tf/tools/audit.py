"""What the server could make of the rounds that a site has sent: the attack, tried by the site on itself."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from fedsim_tf.config import Config
from fedsim_tf.evaluation.audit_figures import draw_findings
from fedsim_tf.evaluation.tables import format_table
from fedsim_tf.federated.attack.ct_recovery import Slope, make_perceptual_slope, recover_cts
from fedsim_tf.federated.attack.gradient_inversion import GradientInversion
from fedsim_tf.federated.attack.latent_recovery import recover_latents
from fedsim_tf.federated.attack.pooled_rounds import AttackedRounds, list_pools
from fedsim_tf.federated.attack.reconstruction import (
    Finding,
    KnownPatients,
    Reconstruction,
    compare_with_patients,
    load_shared_weights,
    reconstruct_patients,
)
from fedsim_tf.federated.kept_rounds import KeptRound
from fedsim_tf.files import write_text
from fedsim_tf.models import built
from fedsim_tf.runs.inputs import count_labels, open_fold, open_shape_model, open_vgg
from fedsim_tf.runs.same_data import compare_with_note
from fedsim_tf.synthesis import GenerativeModel, downsample
from fedsim_tf.tools.audit_start import Audit, AuditedFold
from fedsim_tf.tools.audit_table import OF_DESCENT, OF_GRADIENTS, OF_LATENT, OF_MAPS, FoundPatient, make_table
from fedsim_tf.training.volumes import SiteVolumes

FOLDER = "audit"  # within the site's own folder: pictures of patients do not leave it


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
        caption = f"What rounds of {audit.site} give away: {audit.source}, fold {fold.number}"
        if fold.run.config.federated.encrypt:
            caption += "; the server has not seen them, as they were encrypted"
        patients: list[FoundPatient] = []
        for of_round in _attack_fold(audit, fold, output):  # what was found stays, should a later attack be ended
            patients += of_round
            write_text(output / "audit.md", format_table(make_table(patients), "md", caption))
        found += patients
    return found


def _attack_fold(audit: Audit, fold: AuditedFold, output: pathlib.Path) -> Iterator[list[FoundPatient]]:
    """Yield the patients of each round and each pool of rounds, of which there may be none."""
    config = fold.run.config
    n_labelled = count_labels(config, audit.dataset, federated=True)
    cohort = audit.open_cohort()
    data = open_fold(config, cohort, fold=fold.number, n_labelled=n_labelled, cache_dir=audit.cache_dir)
    compare_with_note(fold.run.path, config, data)
    model = GenerativeModel(config, open_shape_model(config), data.field_of_view_mm)
    known, title = KnownPatients.at_site(data, model), f"{audit.source}, fold {fold.number}"
    of_generator = [one for one in fold.rounds if one.is_of_generator]
    if of_generator:
        yield from _attack_generator(of_generator, data, model, known, output, config=config, title=title)
    of_unet = [one for one in fold.rounds if not one.is_of_generator]
    if of_unet:
        inversion = _open_inversion(config, known)
        for one in of_unet:
            yield _invert(one, inversion, known, output, title=title)


def _attack_generator(
    kept: Sequence[KeptRound],
    data: SiteVolumes,
    model: GenerativeModel,
    known: KnownPatients,
    output: pathlib.Path,
    *,
    config: Config,
    title: str,
) -> Iterator[list[FoundPatient]]:
    annotated = set(data.labelled.identities)
    perceptual = make_perceptual_slope(open_vgg(config), weight=config.pretraining.perceptual_weight)
    single = [AttackedRounds(one.round, one) for one in kept]
    for rounds in (*single, *list_pools(kept, most_volumes=config.model.latent)):
        # Another scan's noise, or another loss than that of annotated volumes, would be taken for the patient.
        is_plain = annotated.issuperset(rounds.mean.batch) and not config.model.simulated_photons
        yield _attack(rounds, model, known, output, title=title, perceptual=perceptual if is_plain else None)


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
    first, last = rounds.first, kept.round
    file = f"{kept.stage}-{last:06d}.png" if first == last else f"{kept.stage}-{first:06d}-to-{last:06d}.png"
    words = f"round {last}" if first == last else f"mean of rounds {first} to {last}"
    _draw(output / file, findings, made, known, title=f"{title}: {kept.stage}, {words}")
    residuals, source = recovered.residuals, OF_LATENT if read is None else OF_GRADIENTS
    return [FoundPatient(kept.stage, first, last, float(residuals[one.found]), one, source) for one in findings]


def _open_inversion(config: Config, known: KnownPatients) -> GradientInversion:
    """Return the attack on the rounds of Direct-FL; it computes in float32, whatever the site did."""
    sizes = dataclasses.replace(config.model, precision="float32")
    return GradientInversion(
        built.unet(sizes, seed=config.seed),
        edge=sizes.size,
        heart_weight=config.segmentation.heart_weight,
        mean_heart=known.mean_heart,
    )


def _invert(
    kept: KeptRound, inversion: GradientInversion, known: KnownPatients, output: pathlib.Path, *, title: str
) -> list[FoundPatient]:
    """Attack a round of Direct-FL, which has the gradient of one volume."""
    found = inversion.invert(kept.weights, kept.gradients)
    labels = (found.label[None] > 0.5).astype(np.uint8)
    made = Reconstruction(labels, downsample(found.image[None], known.coarse.shape[1]))
    findings = compare_with_patients(made, kept.batch, known)
    file = output / f"{kept.stage.replace('/', '-')}-{kept.round:06d}.png"
    _draw(file, findings, made, known, title=f"{title}: {kept.stage}, round {kept.round}")
    source = OF_MAPS if found.is_solved else OF_DESCENT
    return [FoundPatient(kept.stage, kept.round, kept.round, found.distance, one, source) for one in findings]


def _draw(
    path: pathlib.Path, findings: Sequence[Finding], made: Reconstruction, known: KnownPatients, *, title: str
) -> None:
    pictures = {
        f"patient {finding.number}": (
            known.coarse[finding.number],
            made.coarse[finding.found],
            known.mean_of_others(finding.number),
        )
        for finding in findings
    }
    draw_findings(path, pictures, title=title)
