"""What a schedule's first start has settled holds for later ones, on whichever machine."""

import pytest

from fedsim_tf.config import make_config
from fedsim_tf.errors import InputError
from fedsim_tf.models import precision
from fedsim_tf.schedule.settings import keep_settings, settle_config


def test_a_later_start_keeps_the_first_ones_precision(tmp_path, monkeypatch):
    config = make_config("demo")
    monkeypatch.setattr(precision, "choose_precision", lambda _: "bfloat16")
    first = settle_config(config, tmp_path)
    assert first.model.precision == "bfloat16"
    assert list(tmp_path.iterdir()) == []
    keep_settings(first, tmp_path)
    monkeypatch.setattr(precision, "choose_precision", lambda _: "float32")
    assert settle_config(config, tmp_path) == first
    assert settle_config(config, tmp_path / "another").model.precision == "float32"
    with pytest.raises(InputError, match=r"a run with model\.precision=bfloat16 \(now float32\).*schedule folder"):
        settle_config(make_config("demo", model={"precision": "float32"}), tmp_path)


def test_other_settings_are_refused_before_any_job_is_done(tmp_path):
    keep_settings(settle_config(make_config("demo"), tmp_path), tmp_path)
    with pytest.raises(InputError, match=r"gan\.steps=500 \(now 999\).*another schedule folder"):
        settle_config(make_config("demo", gan={"steps": 999}), tmp_path)
    timeout = {"timeout": 2 * make_config("demo").federated.timeout}
    settle_config(make_config("demo", federated=timeout), tmp_path)  # may change while a run is resumed
