"""The comparison of section 3 at one site: what each arm trains on, how it scores, and the pictures of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from fedsim_tf.arms import ARMS, UPPER_BOUND, choose_trained, get_network_arm, get_volumes_arm, title
from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.scores import score_on_own_labels, score_segmenter
from fedsim_tf.evaluation.shown_volumes import (
    SHOWN_VOLUMES,
    show_synthetic_volumes,
    show_test_volumes,
    write_shown_volumes,
)
from fedsim_tf.generator.export import generator_folder
from fedsim_tf.generator.folder import is_generator, note_scores
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ArmScores
from fedsim_tf.records.likeness_record import Likeness, Pair
from fedsim_tf.runs.results import draw_losses
from fedsim_tf.runs.samples import measure_site, samples_folder, show_samples, stack_samples
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter, UNetTraining, train_segmenter
from fedsim_tf.training.volumes import SiteVolumes, Volumes, join_volumes

Samples = Sequence[SyntheticVolume]
Beside = Mapping[str, Callable[[], Volumes]]  # by arm


def compare_with_pictures(
    run: RunFolder,
    site: SiteVolumes,
    arms: Sequence[str],
    samples: Mapping[str, Samples],
    *,
    vgg: VGG19Features,
    data: str,
    beside: Beside | None = None,
    trained: Mapping[str, Segmenter] | None = None,
) -> dict[str, ArmScores]:
    """Compare arms as `compare` does, note scores in generators' cards, draw samples, segmentations and losses.

    Test volumes with every mask are kept for the fold's page.

    Args:
      run, site, arms, samples, beside, trained: see `compare`.
      vgg: features for distances between slices.
      data: the data's name, for titles.

    Returns:
      Scores by arm; those of an arm with samples say how much these look like the site's volumes.
    """
    drawn = {get_volumes_arm(arm): volumes for arm, volumes in samples.items()}
    likeness = _show_all_samples(run, site, drawn, vgg=vgg, data=data) if drawn else {}
    segmenters, scores = compare(run, site, arms, samples, beside=beside, trained=trained)
    _note_generator_scores(run, scores)
    segmentation_gallery(run.pictures / "segmentations.png", segmenters, site.test, title=f"Segmentations, {data}")
    _keep_shown_volumes(run, site, segmenters, drawn)
    draw_losses(run, data=data)
    if UPPER_BOUND in arms:
        for arm, volumes in drawn.items():
            synthetic = score_on_own_labels(segmenters[UPPER_BOUND], stack_samples(volumes))
            pair = Pair(real=scores[UPPER_BOUND].dice, synthetic=synthetic)
            likeness[arm] = dataclasses.replace(likeness[arm], upper_bound_dice=pair)
    return {
        arm: dataclasses.replace(found, likeness=likeness.get(get_volumes_arm(arm))) for arm, found in scores.items()
    }


def _keep_shown_volumes(
    run: RunFolder, site: SiteVolumes, segmenters: Mapping[str, Segmenter], samples: Mapping[str, Samples]
) -> None:
    """Keep the volumes and masks that the fold's page shows, which is made once all folds are finished."""
    shown = show_test_volumes(site.test, site.test_extents_mm, segmenters)
    for arm, volumes in samples.items():
        shown += show_synthetic_volumes(volumes, arm=arm, extent_mm=site.field_of_view_mm)
    write_shown_volumes(run.path / SHOWN_VOLUMES, shown)


def _note_generator_scores(run: RunFolder, scores: Mapping[str, ArmScores]) -> None:
    """Note in the card of each arm's generator, where the arm has one, how the arm scored."""
    for arm, found in scores.items():
        generator = generator_folder(run.samples / arm)
        if is_generator(generator):
            note_scores(generator, found)


def _show_all_samples(
    run: RunFolder, site: SiteVolumes, samples: Mapping[str, Samples], *, vgg: VGG19Features, data: str
) -> dict[str, Likeness]:
    """Show and measure the samples of each arm; the real volumes are measured once."""
    real = measure_site(site, vgg, run.config)
    return {
        arm: show_samples(
            run,
            arm,
            samples_folder(run, arm),
            volumes,
            site,
            vgg=vgg,
            real=real,
            title=f"Samples of {title(arm)}, {data}",
        )
        for arm, volumes in samples.items()
    }


def compare(
    run: RunFolder,
    site: SiteVolumes,
    arms: Sequence[str],
    samples: Mapping[str, Samples],
    *,
    beside: Beside | None = None,
    trained: Mapping[str, Segmenter] | None = None,
) -> tuple[dict[str, Segmenter], dict[str, ArmScores]]:
    """Train every arm with the same budget and score it on the test part.

    Where all training volumes are annotated, the upper bound is the lower bound and is not trained again.

    Args:
      run: the run's folder.
      site: this site's fold.
      arms: bounds, or keys of `samples` or of `trained`.
      samples: synthetic volumes of each arm that learns from some.
      beside: for arms that fine-tune on more than the annotated volumes, what makes that more.
      trained: networks of arms that were trained before and are only scored here.

    Returns:
      The trained networks and their scores, by arm.
    """
    segmenters, scores = dict(trained or {}), {}
    network = UNetTraining(run.config, site.validation)
    chosen = {arm: choose_trained(arm, arms, all_annotated=site.all_annotated) for arm in arms}
    for arm in dict.fromkeys(chosen.values()):
        if arm not in segmenters:
            pretrain, finetune = _choose_volumes(site, arm, samples)
            if finetune is not None and beside and arm in beside:
                finetune = join_volumes([finetune, beside[arm]()])
            name, augmented = get_network_arm(arm), ARMS[arm].augmented
            segmenters[arm] = train_segmenter(
                run, network, name, pretrain=pretrain, finetune=finetune, augmented=augmented
            )
        scores[arm] = score_segmenter(segmenters[arm], site.test, site.test_extents_mm)
    return {arm: segmenters[chosen[arm]] for arm in arms}, {arm: scores[chosen[arm]] for arm in arms}


def _choose_volumes(site: SiteVolumes, arm: str, samples: Mapping[str, Samples]) -> tuple[Volumes, Volumes | None]:
    """Return the volumes to pre-train and to fine-tune on; the latter are None if the arm ends after pre-training."""
    if arm == UPPER_BOUND:
        return site.fully_labelled, site.fully_labelled
    if not ARMS[arm].simulator:
        return site.labelled, site.labelled
    synthetic = stack_samples(samples[arm], by_region=site.labelled.regions is not None)
    return synthetic, site.labelled if ARMS[arm].finetuned else None
