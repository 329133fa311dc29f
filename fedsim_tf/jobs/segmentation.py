"""The comparison of section 3 at one site: what each arm trains on, and how it scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedsim_tf.arms import ARMS, drawn_as
from fedsim_tf.evaluation.scores import Scores, score
from fedsim_tf.jobs.samples import as_volumes
from fedsim_tf.synthesis import SyntheticVolume
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter, train_segmenter
from fedsim_tf.training.volumes import SiteVolumes, Volumes

Samples = Sequence[SyntheticVolume]


def compare(
    run: RunFolder,
    site: SiteVolumes,
    arms: Sequence[str],
    samples: Mapping[str, Samples],
    *,
    trained: Mapping[str, Segmenter] | None = None,
) -> tuple[dict[str, Segmenter], dict[str, Scores]]:
    """Trains every arm with the same budget and scores it on the test part.

    Args:
      run: the run's folder.
      site: this site's fold.
      arms: "lower_bound", "upper_bound", or a key of `samples` or of `trained`.
      samples: synthetic volumes of each arm that has some.
      trained: networks of arms that are only scored here.

    Returns:
      The trained networks and their scores, by arm.
    """
    segmenters, scores = dict(trained or {}), {}
    for arm in arms:
        if arm not in segmenters:
            pretrain, finetune = _training_parts(site, arm, samples)
            segmenters[arm] = train_segmenter(
                run, drawn_as(arm), pretrain=pretrain, finetune=finetune, validation=site.validation
            )
        scores[arm] = score(segmenters[arm], site.test, site.test_extents_mm)
    return {arm: segmenters[arm] for arm in arms}, scores


def _training_parts(site: SiteVolumes, arm: str, samples: Mapping[str, Samples]) -> tuple[Volumes, Volumes | None]:
    """Volumes to pre-train and to fine-tune on; None where an arm ends after pre-training."""
    if arm == "lower_bound":
        return site.labelled, site.labelled
    if arm == "upper_bound":
        return site.fully_labelled, site.fully_labelled
    return as_volumes(samples[arm]), site.labelled if ARMS[arm].finetuned else None
