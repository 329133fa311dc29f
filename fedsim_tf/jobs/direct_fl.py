"""Direct-FL: one segmentation network over all sites, then fine-tuned at each."""

from __future__ import annotations

from collections.abc import Sequence

from fedsim_tf.arms import DIRECT
from fedsim_tf.baselines.direct_fl import DirectFederated, SharedUNet
from fedsim_tf.federated.engine import run_rounds
from fedsim_tf.federated.site import Site
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import Segmenter, finetuned
from fedsim_tf.training.volumes import SiteVolumes


def train_direct(run: RunFolder, data: Sequence[SiteVolumes]) -> dict[str, Segmenter]:
    """Rounds over all sites with as many steps as other arms pre-train, then each site's fine-tuning.

    Returns:
      Each site's network, by the site's name.
    """
    settings = run.config.segmentation
    sites = [Site(one.name, SharedUNet(run.config, one)) for one in data]
    stages = [DirectFederated(site.learner) for site in sites]
    run_rounds(run, sites, stages, rate=settings.rate, steps=settings.pretraining_steps, accumulate="mean")
    return {
        site.name: finetuned(run, site.learner.training, f"{site.name}/{DIRECT}", site.learner.data.labelled)
        for site in sites
    }
