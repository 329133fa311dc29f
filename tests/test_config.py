import dataclasses
import json

import pytest

from fedsim_tf.config import PRESETS, Config, from_dict, make_config
from fedsim_tf.errors import InputError


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_survive_json(preset):
    config = make_config(preset)
    assert from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_paper_preset_has_the_papers_sizes():
    config = make_config("paper")
    assert (config.model.size, config.model.coarse_size, config.model.shape_modes) == (128, 16, 14)
    assert (config.synthesis.volumes, config.segmentation.batch, config.data.folds) == (20, 1, 5)


def test_overrides_reach_their_section_only():
    config = make_config("demo", seed=3, gan={"steps": 7})
    assert (config.seed, config.gan.steps) == (3, 7)
    assert dataclasses.replace(config, seed=0, gan=make_config("demo").gan) == make_config("demo")


@pytest.mark.parametrize(("preset", "rate", "finetuning_rate"), [("demo", 4, 6), ("small", 2, 10 / 3), ("paper", 1, 1)])
def test_short_presets_tell_regions_apart_at_rates_of_their_own_unless_others_are_given(preset, rate, finetuning_rate):
    hearts, regions = make_config(preset), make_config(preset, model={"labels": "regions"})
    assert regions.segmentation.rate == pytest.approx(rate * hearts.segmentation.rate)
    assert regions.segmentation.finetuning_rate == pytest.approx(finetuning_rate * hearts.segmentation.finetuning_rate)
    assert dataclasses.replace(regions, model=hearts.model, segmentation=hearts.segmentation) == hearts
    given = make_config(preset, model={"labels": "regions"}, segmentation={"rate": 1e-5})
    assert given.segmentation == dataclasses.replace(regions.segmentation, rate=1e-5)


def test_every_fold_of_every_seed_learns_with_a_seed_of_its_own():
    seeds = [make_config("demo", seed=seed).of_fold(fold).seed for seed in range(3) for fold in range(5)]
    assert len(set(seeds)) == 15
    config = make_config("demo")
    assert dataclasses.replace(config.of_fold(3), seed=0) == config  # the division into folds included


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"gan": {"steps": 0}}, "gan.steps is 0; it must be at least 1"),
        ({"model": {"size": 50}}, "model.size is 50; it must be one of 32, 64, 128"),
        ({"model": {"simulated_tube_kv": 3.0}}, "simulated_tube_kv is 3.0; it must be 0, or 40 to 150"),
        ({"dataset": "ct99"}, "^dataset is ct99; it must be one of ct20"),
        ({"segmentation": {"arms": ("best",)}}, "arms is best; it must be one of lower_bound"),
        ({"gan": {"generator_rate": float("nan")}}, "generator_rate is nan; it must be a finite number"),
        ({"seed": 2**32}, "seed is 4294967296; it must be at most 858993458"),
        ({"nonsense": 1}, "unknown field 'nonsense'"),
        ({"gan": {"nonsense": 1}}, "gan: found unknown field 'nonsense'"),
        ({"data": {"window_low_hu": 2000.0}}, "window_low_hu is 2000.0; it must be below 1000.0"),
    ],
)
def test_bad_values_are_refused_by_name(overrides, message):
    with pytest.raises(InputError, match=message):
        make_config("demo", **overrides)


def test_unknown_preset():
    with pytest.raises(InputError, match="preset is huge; it must be one of paper"):
        make_config("huge")


def test_every_field_explains_itself():
    for field in dataclasses.fields(Config):
        inner = dataclasses.fields(field.default_factory) if field.default is dataclasses.MISSING else [field]
        assert all(len(one.metadata["help"]) > 5 for one in inner)
