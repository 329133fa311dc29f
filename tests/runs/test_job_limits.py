"""What a site's owner lets jobs ask for."""

import numpy as np
import pytest

from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import Message
from fedsim_tf.federated.wire_record import SENT, WireRecord
from fedsim_tf.runs.job_limits import LIMITS_FILE, UNLIMITED, JobLimits, read_limits, write_limits
from tests.training.toy_site import toy_config

LIMITS = JobLimits(least_batch=3, least_noise_multiplier=1.5, stages=["pretraining"], folds=[0, 2])
DIRECT = {"arms": ("direct_fl",), "pretraining_steps": 3}

BEYOND = {
    "least_batch": ({"pretraining": {"batch": 1}}, {}, "annotated volumes a round: found 1; expected at least 2"),
    "largest_coarse_size": ({"model": {"coarse_size": 64}}, {}, "model.coarse_size: found 64; expected at most 16"),
    "largest_size": ({"model": {"size": 64}}, {"largest_size": 32}, "model.size: found 64; expected at most 32"),
    "least_noise_multiplier": (
        {},
        {"least_noise_multiplier": 1.5},
        "federated.noise_multiplier: found 0.0; expected at least 1.5",
    ),
    "least_unannotated_batch": (
        {"semi": {"batch": 1}},
        {"least_unannotated_batch": 2},
        "unannotated volumes a round: found 1; expected at least 2",
    ),
    "stages": (
        {"segmentation": DIRECT},
        {"stages": ["pretraining"]},
        "stage: found segmentation/direct_fl/pretrain; expected one of pretraining",
    ),
    "folds": ({}, {"folds": [1, 3]}, "fold: found 0; expected one of 1, 3"),
}


@pytest.mark.parametrize("limit", BEYOND)
def test_a_job_beyond_a_limit_is_refused_by_the_limits_name_in_one_line(limit):
    asked, limits, message = BEYOND[limit]
    with pytest.raises(InputError, match=f"the job's {message}, {limit} in limits.toml$"):
        JobLimits(**limits).check(toy_config(**asked), fold=0, labels=4)
    UNLIMITED.check(toy_config(**asked), fold=0, labels=4)


def test_the_paper_and_the_demo_are_within_the_limits_that_nobody_has_set():
    for preset in ("demo", "paper"):
        JobLimits().check(make_config(preset), fold=4, labels=6)


def test_a_batch_is_no_larger_than_the_volumes_that_a_site_gives():
    with pytest.raises(InputError, match="found 1; expected at least 2, least_batch"):
        JobLimits().check(toy_config(pretraining={"batch": 4}), fold=0, labels=1)


def test_a_batch_is_no_larger_than_the_unannotated_volumes_that_a_site_has():
    limits, config = JobLimits(least_unannotated_batch=4), toy_config(semi={"batch": 4})
    for count in (0, 4):
        limits.check_unannotated(config, count)
    with pytest.raises(InputError, match="unannotated volumes a round: found 1; expected at least 4, least_un"):
        limits.check_unannotated(config, 1)
    limits.check_unannotated(toy_config(semi={"batch": 4}, segmentation=DIRECT), 1)


def test_rounds_of_all_jobs_are_counted_once_each(tmp_path):
    """Those of the job's own fold are among the ones that it has planned."""
    config = toy_config(pretraining={"steps": 4}, semi={"steps": 4})  # 8 rounds
    for name, count in (("first/fold_0/sites/a", 5), ("second/fold_0/sites/a", 3)):
        (tmp_path / name).mkdir(parents=True)
        record = WireRecord(tmp_path / name, SENT)
        for number in [*range(count), 0]:  # one was sent again
            words = {"kind": "gradients", "stage": "pretraining", "round": number}
            record.note("a", Message(words, {"gradients/x": np.zeros(1, np.float32)}, {}))
    fold = tmp_path / "second" / "fold_0" / "sites" / "a"
    JobLimits(most_rounds=13).check_rounds(config, runs=tmp_path, fold=fold)
    with pytest.raises(
        InputError, match="rounds: found 8 after 5 of other jobs; expected at most 12 together, most_rounds in"
    ):
        JobLimits(most_rounds=12).check_rounds(config, runs=tmp_path, fold=fold)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("least_batch = ", "found no TOML"),
        ("least_bach = 4", "found least_bach: extra inputs are not permitted; expected limits among least_batch, "),
        ("least_batch = '4'", "found least_batch: input should be a valid integer"),
        ("least_batch = 0", "found least_batch: input should be greater than or equal to 1"),
        ("least_noise_multiplier = nan", "found least_noise_multiplier: input should be"),
        ("stages = ['gan']", "found stages.0: input should be 'pretraining', 'semi_supervised' or"),
        ("folds = [5]", "found folds.0: input should be less than 5"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / LIMITS_FILE).write_text(text)
    with pytest.raises(InputError, match=f"limits.toml: {message}") as refused:
        read_limits(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_file_that_is_written_says_what_holds_and_but_for_the_noise_is_written_once(tmp_path):
    assert read_limits(tmp_path) == JobLimits()
    write_limits(tmp_path, LIMITS)
    assert read_limits(tmp_path) == LIMITS
    write_limits(tmp_path, JobLimits(least_noise_multiplier=0.25))
    assert read_limits(tmp_path) == LIMITS.model_copy(update={"least_noise_multiplier": 0.25})
    (tmp_path / LIMITS_FILE).write_text((tmp_path / LIMITS_FILE).read_text().replace("# most_rounds", "most_rounds"))
    assert read_limits(tmp_path).most_rounds == 10000
