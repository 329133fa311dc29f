import json
import types

import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json
from fedsim_tf.training.optimizers import ConstantThenLinear, adam
from fedsim_tf.training.randomness import StepSeeds, step_rng
from fedsim_tf.training.run import RunFolder
from fedsim_tf.training.stage import read_losses, run_stage
from tests.training.toy_stage import ToyStage

CONFIG = make_config("demo", checkpoint_every=3)


class Toy(ToyStage):
    """A noisy quadratic with Adam: its path depends on weights, optimizer slots and the steps' random numbers."""

    def __init__(self, stop_at=None, break_at=None):
        super().__init__()
        self.variable = tf.Variable([1.0, -2.0])
        self.optimizer = adam(0.1, [self.variable], steps=10)
        self.stop_at, self.break_at = stop_at, break_at

    @property
    def objects(self):
        return {"holder": tf.train.Checkpoint(v=self.variable, optimizer=self.optimizer)}

    def step(self, index, rng):
        if index == self.stop_at:
            raise KeyboardInterrupt
        noise = rng.standard_normal(2).astype(np.float32)
        loss = tf.reduce_sum(tf.square(self.variable))
        self.optimizer.apply_gradients([(2 * self.variable + noise, self.variable)])
        return {"loss": loss if index != self.break_at else float("nan")}

    def run(self, folder, steps=10, **more):
        return run_stage(RunFolder(folder, CONFIG), self, steps=steps, **more)


@pytest.mark.parametrize("stop_at", [1, 4, 6, 9])
def test_a_stopped_stage_ends_as_an_undisturbed_one(tmp_path, stop_at):
    whole = Toy()
    whole.run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        Toy(stop_at=stop_at).run(tmp_path / "stopped")
    resumed = Toy()
    resumed.run(tmp_path / "stopped")
    np.testing.assert_array_equal(resumed.variable, whole.variable)
    rows = read_losses(tmp_path / "stopped" / "losses" / "toy.csv")
    assert rows == read_losses(tmp_path / "whole" / "losses" / "toy.csv")
    assert [row[0] for row in rows] == list(range(10))


def test_where_steps_are_slow_there_is_a_checkpoint_every_ten_minutes(tmp_path, monkeypatch):
    """With steps of four minutes one that ends after the seventh loses one of them, not seven."""
    now = [0.0]

    class Slow(Toy):
        def step(self, index, rng):
            now[0] += 240.0
            return super().step(index, rng)

    monkeypatch.setattr("fedsim_tf.training.stage.time", types.SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(KeyboardInterrupt):
        run_stage(RunFolder(tmp_path, make_config("demo", checkpoint_every=100)), Slow(stop_at=7), steps=10)
    assert {path.name for path in (tmp_path / "checkpoints" / "toy").iterdir()} == {"step-3", "step-6"}


def test_each_step_is_given_the_random_numbers_of_its_seed_stage_and_number(tmp_path):
    class Drawing(ToyStage):
        objects: dict = {}  # noqa: RUF012
        seeds = StepSeeds(5, "toy/site", "hidden")
        drawn: list = []  # noqa: RUF012

        def step(self, index, rng):
            self.drawn.append(rng.integers(1 << 62))
            return {"loss": 1.0}

    run_stage(RunFolder(tmp_path, CONFIG), Drawing(), steps=3)
    expected = [step_rng(5, "toy/site", index, secret="hidden").integers(1 << 62) for index in range(3)]
    assert Drawing.drawn == expected


def test_a_finished_stage_is_restored_and_not_repeated(tmp_path):
    first = Toy()
    record = first.run(tmp_path / "run")
    again = Toy(stop_at=0)  # would raise if it took a step
    assert again.run(tmp_path / "run") == record
    np.testing.assert_array_equal(again.variable, first.variable)
    assert record["losses"]["loss"]["down"]


def test_a_stage_that_is_done_early_keeps_its_last_step_and_is_not_gone_on_with(tmp_path):
    first = Toy()
    record = first.run(tmp_path / "run", is_done=lambda: int(first.optimizer.iterations) >= 7)
    assert record["steps"] == 7
    again = Toy(stop_at=0)
    assert again.run(tmp_path / "run", is_done=lambda: int(again.optimizer.iterations) >= 7) == record
    np.testing.assert_array_equal(again.variable, first.variable)
    RunFolder(tmp_path / "run", CONFIG)._record_file("toy").unlink()  # as if killed just before it was written
    last = Toy(stop_at=7)
    assert last.run(tmp_path / "run", is_done=lambda: int(last.optimizer.iterations) >= 7)["steps"] == 7


def test_nan_stops_and_keeps_the_last_checkpoint(tmp_path):
    with pytest.raises(FloatingPointError, match="toy, step 7: loss loss is nan"):
        Toy(break_at=7).run(tmp_path / "run")
    mended = Toy()
    mended.run(tmp_path / "run")
    whole = Toy()
    whole.run(tmp_path / "whole")
    np.testing.assert_array_equal(mended.variable, whole.variable)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_before_it_is_kept(tmp_path, value):
    """The step's losses are those of the weights before it, so they are finite still."""

    class Steep(ToyStage):
        objects: dict = {}  # noqa: RUF012

        def step(self, index, rng):
            self.gradient_norms = {"material": 1.0, "latents": value if index == 5 else 2.0}
            return {"loss": 1.0}

    with pytest.raises(FloatingPointError, match=f"toy, step 5: gradient of latents is {value}"):
        run_stage(RunFolder(tmp_path, CONFIG), Steep(), steps=10)
    assert [path.name for path in (tmp_path / "checkpoints" / "toy").iterdir()] == ["step-3"]


def test_another_configuration_is_refused_with_the_difference(tmp_path):
    RunFolder(tmp_path / "run", CONFIG)
    with pytest.raises(InputError, match=rf"gan.steps={CONFIG.gan.steps} \(now 5\), seed=0 \(now 1\)"):
        RunFolder(tmp_path / "run", make_config("demo", checkpoint_every=3, seed=1, gan={"steps": 5}))


def test_how_often_to_write_checkpoints_may_change_on_the_way(tmp_path):
    RunFolder(tmp_path / "run", make_config("demo", checkpoint_every=50))
    RunFolder(tmp_path / "run", make_config("demo", checkpoint_every=7))
    assert read_json(tmp_path / "run" / "config.json")["checkpoint_every"] == 7


def test_how_long_and_for_how_many_sites_to_wait_may_change_on_the_way(tmp_path):
    """A hospital that has left for good must not end what the others have learnt."""
    RunFolder(tmp_path / "run", make_config("demo"))
    later = make_config("demo", federated={"quorum": 2, "timeout": 60.0, "largest_norm": 10.0})
    RunFolder(tmp_path / "run", later)
    assert read_json(tmp_path / "run" / "config.json") == json.loads(json.dumps(later.to_dict()))
    with pytest.raises(InputError, match=r"federated\.accumulate=sum \(now mean\)"):
        RunFolder(tmp_path / "run", make_config("demo", federated={"accumulate": "mean"}))


def test_a_foreign_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="a folder that is no run"):
        RunFolder(tmp_path, CONFIG)


def test_random_choices_differ_by_seed_stage_and_step():
    draws = {step_rng(*key).integers(1 << 62) for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]}
    assert len(draws) == 4
    assert step_rng(0, "a", 0).integers(1 << 62) == step_rng(0, "a", 0).integers(1 << 62)
    hidden = {step_rng(0, "a", 0, secret=secret).integers(1 << 62) for secret in ("", "x", "y")}
    assert len(hidden) == 3
    assert step_rng(0, "a", 0, secret="x").integers(1 << 62) in hidden


def test_rate_is_constant_then_falls_to_zero():
    schedule = ConstantThenLinear(4e-4, 100)
    np.testing.assert_allclose([schedule(s) for s in (0, 50, 75, 100)], [4e-4, 4e-4, 2e-4, 0], atol=1e-10)
