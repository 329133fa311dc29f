"""One fold of a site in a federated run: its stages, samples and comparison."""

from __future__ import annotations

import functools

import numpy as np

from fedsim_tf.arms import DIRECT, FEDERATED_PLUS, FEDERATED_SIMULATION, federate_arms
from fedsim_tf.baselines.direct_fl import DirectFederated, SharedUNet, initial_weights
from fedsim_tf.errors import InputError
from fedsim_tf.federated.outbox import Shapes
from fedsim_tf.models.latents import LatentDistribution, LatentStatistics
from fedsim_tf.models.vgg import VGG19Features
from fedsim_tf.records.fold_scores import ScoresBySite
from fedsim_tf.runs.compare_arms import Beside, Samples, compare_with_pictures
from fedsim_tf.runs.inputs import describe_source
from fedsim_tf.runs.plus_arm import PlusSite
from fedsim_tf.runs.results import read_or_make_scores
from fedsim_tf.runs.same_data import check_same_data
from fedsim_tf.runs.samples import draw_samples_of, samples_folder
from fedsim_tf.runs.stage_plan import plan_stages
from fedsim_tf.shape.ssm import StatisticalShapeModel
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner, initial_shared_weights
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.protocols import SharedStage
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.segmentation import finetune_segmenter
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.stage import run_stage
from fedsim_tf.training.volumes import SiteVolumes

GAN, SAMPLES, COMPARISON = "gan", "samples", "comparison"  # the kinds of work that a site does alone


class FoldAtSite:
    """The `federated.site.Work` of a site on one fold of its data.

    Args:
      run: the site's own folder.
      data: the fold of its data.
      ssm: the shape model that all sites use.
      vgg: VGG-19 with fixed weights.
      whole_stages: whether moments are given only of latents that had a part in every round of a stage.

    Raises:
      InputError: the folder has been used with other data.
    """

    def __init__(
        self,
        run: RunFolder,
        data: SiteVolumes,
        ssm: StatisticalShapeModel,
        vgg: VGG19Features,
        *,
        whole_stages: bool = False,
    ):
        check_same_data(run, data)
        self._run, self._data, self._ssm, self._vgg = run, data, ssm, vgg
        self._whole_stages, self._restored = whole_stages, ""
        self._samples: dict[str, Samples] = {}
        self._beside: Beside = {}

    @functools.cached_property
    def learner(self) -> SiteLearner:
        """The site's networks and latents."""
        return SiteLearner(self._run.config, self._ssm, self._data, self._vgg)

    @functools.cached_property
    def unet(self) -> SharedUNet:
        """The site's copy of the segmentation network that Direct-FL shares."""
        return SharedUNet(self._run.config, self._data)

    def begin(self, stage: str, distribution: LatentDistribution | None) -> SharedStage:
        self._restored = self._restored if stage == DirectFederated.name else stage
        if stage == GeneratorPretraining.name:
            return GeneratorPretraining(self.learner)
        if stage == SemiSupervised.name:
            semi = SemiSupervised(self.learner)
            if distribution is not None:
                semi.draw_latents(distribution)
            return semi
        if stage == DirectFederated.name:
            return DirectFederated(self.unet)
        raise InputError(f"stage for {self._data.name}", found=repr(stage), expected="a shared stage")

    def work_alone(self, name: str, distribution: LatentDistribution | None) -> None:
        if name == GAN:
            run_stage(self._run, EnhancementPretraining(self.learner, name=GAN), steps=self._run.config.gan.steps)
        elif name == SAMPLES and distribution is not None:
            self._draw_samples(distribution)
        elif name == COMPARISON:
            read_or_make_scores(self._run, self._compare, site=self._data.name)
        else:
            expected = f"one of {GAN}, {SAMPLES}, {COMPARISON}, and samples with a distribution"
            raise InputError(f"work for {self._data.name}", found=repr(name), expected=expected)

    @functools.cached_property
    def shared_shapes(self) -> Shapes:
        config = self._run.config
        weights = initial_shared_weights(config) | initial_weights(config)
        return {name: value.shape for name, value in weights.items()}

    def count_volumes(self) -> int:
        return len(self._data.labelled) + len(self._data.unlabelled)

    def measure_latents(self, *, with_unlabelled: bool, largest_norm: float = 0.0) -> LatentStatistics:
        """Return the moments of the latents that this site has learnt; it has none if it was away in those stages."""
        if not any(map(self._has_learnt, (GeneratorPretraining.name, SemiSupervised.name))):
            return LatentStatistics.of(np.zeros((0, self._run.config.model.latent)))
        both = with_unlabelled and self._has_learnt_unannotated()
        return self.learner.latent_statistics(with_unlabelled=both, largest_norm=largest_norm)

    def _draw_samples(self, distribution: LatentDistribution) -> None:
        """Draw the synthetic volumes of each arm that simulates, with the site's own enhancement network."""
        arms = federate_arms(self._run.config.segmentation.arms)
        if FEDERATED_SIMULATION in arms:
            folder = samples_folder(self._run, FEDERATED_SIMULATION)
            drawn = draw_samples_of(folder, self.learner, distribution, with_unlabelled=self._has_learnt_unannotated())
            self._samples[FEDERATED_SIMULATION] = drawn
        if FEDERATED_PLUS in arms:
            plus = PlusSite(self.learner, distribution, FEDERATED_PLUS)
            self._samples[FEDERATED_PLUS], self._beside = plus.draw(self._run), plus.beside

    def _has_learnt_unannotated(self) -> bool:
        return self._run.config.semi.learns_unannotated and self._has_learnt(SemiSupervised.name, least=2)

    def _has_learnt(self, stage: str, *, least: int = 1) -> bool:
        """Return whether the latents in memory have taken part in a stage that has ended."""
        record = self._run.finished(stage) or {"steps": 0}
        if not self._whole_stages:
            return record["steps"] >= least
        restored = self._restored in (stage, SemiSupervised.name)  # the later stage goes on from the earlier one
        return restored and record.get("moved", record["steps"]) >= max(
            least, plan_stages(self._run.config)[stage].steps
        )

    def _compare(self) -> ScoresBySite:
        """Train and test the segmentation network of each arm at this site; return the scores by site and arm."""
        run, data = self._run, self._data
        arms = federate_arms(run.config.segmentation.arms)
        trained = {DIRECT: finetune_segmenter(run, self.unet.training, DIRECT, data.labelled)} if DIRECT in arms else {}
        title = describe_source(run.config, data.name)
        scores = compare_with_pictures(
            run, data, arms, self._samples, vgg=self._vgg, data=title, beside=self._beside, trained=trained
        )
        return {data.name: scores}
