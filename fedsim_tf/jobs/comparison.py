"""The arms of one fold at one site, with all that its reader wants to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedsim_tf.evaluation.galleries import segmentation_gallery
from fedsim_tf.evaluation.scores import Scores, with_likeness
from fedsim_tf.jobs.results import draw_losses
from fedsim_tf.jobs.samples import samples_folder, show_samples
from fedsim_tf.jobs.segmentation import Samples, compare
from fedsim_tf.models import VGG19Features
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter
from fedsim_tf.training.volumes import SiteVolumes


def compare_with_pictures(
    run: RunFolder,
    site: SiteVolumes,
    arms: Sequence[str],
    samples: Mapping[str, Samples],
    *,
    vgg: VGG19Features,
    data: str,
    trained: Mapping[str, Segmenter] | None = None,
) -> dict[str, Scores]:
    """`compare`, and pictures of samples, segmentations and losses.

    Args:
      run, site, arms, samples, trained: see `compare`.
      vgg: features for distances between slices.
      data: the data's name, for titles.

    Returns:
      Scores by arm, with how much its samples look like the site's.
    """
    likeness = {
        arm: show_samples(
            run,
            arm,
            samples_folder(run, arm),
            volumes,
            site,
            vgg=vgg,
            title=f"Samples of {arm}, {data}",
        )
        for arm, volumes in samples.items()
    }
    segmenters, scores = compare(run, site, arms, samples, trained=trained)
    segmentation_gallery(
        run.pictures / "segmentations.png",
        segmenters,
        site.test,
        title=f"Segmentations, {data}: truth green, found red",
    )
    draw_losses(run, data=data)
    return {arm: with_likeness(found, likeness.get(arm)) for arm, found in scores.items()}
