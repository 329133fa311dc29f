"""Toy hospitals and the server between them, in one process."""

from fedsim_tf.federated.coordinator import Coordinator
from fedsim_tf.federated.in_process import InProcess
from fedsim_tf.federated.site import Site
from fedsim_tf.runs.federated_site import FoldAtSite
from fedsim_tf.training.learner import initial_shared_weights
from fedsim_tf.training.pretraining import GeneratorPretraining
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.semi_supervised import SemiSupervised
from tests.training.toy_site import toy_shape_model, toy_site, toy_vgg

SEEDS = {"a": 0, "b": 7}


class ToyFederation:
    """A run's folder, the sites with what they do, and the coordinator.

    Attributes:
      run: the server's folder.
      works: `FoldAtSite` by site; sites: `Site` by name.
    """

    def __init__(self, folder, config, seeds=SEEDS, exchange=InProcess):
        self.run = RunFolder(folder, config)
        self.works = {
            name: FoldAtSite(self.run.site(name), toy_site(name, seed), toy_shape_model(), toy_vgg())
            for name, seed in seeds.items()
        }
        self.sites = {name: Site(name, self.run.site(name), work) for name, work in self.works.items()}
        self._exchange = exchange(list(self.sites.values()))
        self.coordinator = Coordinator(self.run, self._exchange, list(seeds))
        self.start = initial_shared_weights(config)

    def note_as_learnt(self, *stages):
        """As if every site had had a part in them."""
        for name in self.sites:
            for stage in stages:
                self.run.site(name).finish(stage, {"steps": 2})

    def pretrain(self, pauses=lambda: False):
        settings = self.run.config.pretraining
        coordinator = Coordinator(self.run, self._exchange, list(self.sites), pauses=pauses)
        weights = coordinator.rounds(
            GeneratorPretraining.name, self.start, rate=settings.rate, steps=settings.steps, accumulate="sum"
        )
        self.coordinator.alone("gan")
        return weights

    def semi_supervise(self, weights):
        settings = self.run.config.semi
        return self.coordinator.rounds(
            SemiSupervised.name,
            weights,
            rate=settings.rate,
            steps=settings.steps,
            accumulate="sum",
            distribution=self.coordinator.latent_distribution(with_unlabelled=False),
        )
