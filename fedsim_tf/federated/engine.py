"""The in-process engine: all sites and the server in one process, round by round."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedsim_tf.federated.server import Server, pooled_distribution
from fedsim_tf.federated.site import SharedStage, Site
from fedsim_tf.models import LatentDistribution
from fedsim_tf.training.enhancement import EnhancementPretraining
from fedsim_tf.training.learner import SiteLearner
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from fedsim_tf.training.simulation import run_alone
from fedsim_tf.training.stage import Losses, run_stage
from fedsim_tf.training.watch import WatchedSites, WithRates


class InProcessEngine:
    """Runs the stages of section 2.3 over sites in this process.

    Args:
      run: the run's folder; its configuration gives rounds and rates.
      sites: all with the same initial shared weights.
    """

    def __init__(self, run: RunFolder, sites: Sequence[Site[SiteLearner]]):
        self._run, self._sites = run, sites

    def pretrain(self) -> None:
        """Rounds of stage 1, then stage 2 at each site alone."""
        settings = self._run.config.pretraining
        self._rounds(GeneratorPretraining, rate=settings.rate, steps=settings.steps)
        for site in self._sites:
            gan = EnhancementPretraining(site.learner)
            run_alone(self._run, gan, name=f"{gan.name}/{site.name}", steps=self._run.config.gan.steps)

    def semi_supervise(self) -> None:
        """Rounds of stage 3; unannotated volumes start from the pooled normal."""
        settings = self._run.config.semi
        distribution = self.latent_distribution(with_unlabelled=False)

        def begin(learner: SiteLearner) -> SemiSupervised:
            stage = SemiSupervised(learner)
            stage.draw_latents(distribution)
            return stage

        self._rounds(begin, rate=settings.rate, steps=settings.steps)

    def latent_distribution(self, *, with_unlabelled: bool) -> LatentDistribution:
        """The normal over all sites' latents; sites give their moments only."""
        moments = [site.learner.latent_statistics(with_unlabelled=with_unlabelled) for site in self._sites]
        return pooled_distribution(moments)

    def _rounds(self, begin: Callable[[SiteLearner], SharedStage], *, rate: float, steps: int) -> None:
        stages = [begin(site.learner) for site in self._sites]
        run_rounds(
            self._run, self._sites, stages, rate=rate, steps=steps, accumulate=self._run.config.federated.accumulate
        )


def run_rounds(
    run: RunFolder, sites: Sequence[Site], stages: Sequence[SharedStage], *, rate: float, steps: int, accumulate: str
) -> None:
    """Rounds of one stage: every site's gradients, one step at the server, the new weights to every site.

    Args:
      run: the run's folder.
      sites: all with the same shared weights.
      stages: each site's side of the stage.
      rate, steps, accumulate: see `Server`.
    """
    server = Server(sites[0].weights, rate=rate, steps=steps, accumulate=accumulate)

    def step(index: int) -> Losses:
        updates = [site.update(stage, index) for site, stage in zip(sites, stages, strict=True)]
        server.step(updates, round_number=index)
        weights = server.weights
        for site in sites:
            site.receive(weights)
        return {f"{site.name}/{key}": value for site in sites for key, value in site.last_losses.items()}

    objects = {"server": server}
    for site, stage in zip(sites, stages, strict=True):
        objects.update(site.stage_objects(stage))
    watched = WatchedSites({site.name: stage for site, stage in zip(sites, stages, strict=True)})
    run_stage(
        run,
        stages[0].name,
        steps=steps,
        step=step,
        objects=objects,
        watched=WithRates(watched, shared=server.optimizer),
    )
