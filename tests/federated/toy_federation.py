"""Toy hospitals and the server between them, in one process."""

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.runs.federated_site import FoldAtSite
from fedsim_tf.training.learner import initial_shared_weights
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import small_vgg, toy_shape_model, toy_site

SEEDS = {"a": 0, "b": 7}


class ToyFederation:
    """Sites with their work, and the coordinator between them.

    Attributes:
      run: the server's folder.
      works: the `FoldAtSite` of each site, by the site's name.
      sites: each `Site`, by its name.
    """

    def __init__(self, folder, config, seeds=SEEDS, exchange=InProcess):
        self.run = RunFolder(folder, config)
        self.works = {
            name: FoldAtSite(self.run.site(name), toy_site(name, seed), toy_shape_model(), small_vgg())
            for name, seed in seeds.items()
        }
        self.sites = {name: Site(name, self.run.site(name), work) for name, work in self.works.items()}
        self._exchange = exchange(list(self.sites.values()))
        self.coordinator = Coordinator(self.run, self._exchange, list(seeds))
        self.start = initial_shared_weights(config)

    def note_as_learnt(self, *stages):
        """Record that every site has taken part in these stages."""
        for name in self.sites:
            for stage in stages:
                self.run.site(name).finish(stage, {"steps": 2})

    def pretrain(self, should_pause=lambda: False):
        settings = self.run.config.pretraining
        coordinator = Coordinator(self.run, self._exchange, list(self.sites), should_pause=should_pause)
        weights = coordinator.run_rounds(
            GeneratorPretraining.name, self.start, rate=settings.rate, steps=settings.steps, accumulate="sum"
        )
        self.coordinator.work_alone("gan")
        return weights

    def semi_supervise(self, weights):
        settings = self.run.config.semi
        return self.coordinator.run_rounds(
            SemiSupervised.name,
            weights,
            rate=settings.rate,
            steps=settings.steps,
            accumulate="sum",
            latents=self.coordinator.pool_latents(with_unlabelled=False),
        )
