import logging
import shutil
import sys

import pytest
from tqdm import tqdm

from fedsim_tf.progress import ProgressLines, duration, progress_bar, room


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, logger="absl")
    return caplog


def test_a_line_each_interval_with_rate_time_left_and_losses(said):
    clock = Clock()
    with ProgressLines(3000, "gan", done=20, unit="step", interval_s=34.9, clock=clock) as lines:
        for _ in range(200):
            clock.now += 0.35
            lines.set_postfix({"discriminator": "1.2", "vgg": "3.4"}, refresh=False)
            lines.update()
    assert said.messages[:2] == [
        "gan: step 120 of 3000, 0.35 s/step, 17 min left, discriminator 1.2, vgg 3.4",
        "gan: step 220 of 3000, 0.35 s/step, 16 min left, discriminator 1.2, vgg 3.4",
    ]
    assert said.messages[2:] == ["gan: 220 of 3000 after 70 s, discriminator 1.2, vgg 3.4"]
    assert not any("\r" in line for line in said.messages)


def test_the_rate_is_that_of_the_last_interval(said):
    clock = Clock()
    lines = ProgressLines(1001, "volumes", interval_s=30.0, clock=clock)
    clock.now += 60.0  # the first one takes long
    lines.update()
    clock.now += 30.0
    lines.update(9)
    assert said.messages[0] == "volumes: 1 of 1001, 60 s/it, 16.7 h left"
    assert said.messages[1] == "volumes: 10 of 1001, 3.33 s/it, 55 min left"


def test_nothing_is_said_of_what_failed_or_did_not_begin(said):
    with pytest.raises(ValueError), ProgressLines(3, "volumes") as lines:
        lines.update()
        raise ValueError
    with ProgressLines(3, "volumes"):
        pass
    assert said.messages == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89, "89 s"), (120, "2 min"), (5399, "90 min"), (7200, "2.0 h"), (86400 * 3, "3.0 days")],
)
def test_durations_are_said_in_a_fitting_unit(seconds, text):
    assert duration(seconds) == text


def test_a_bar_on_a_terminal_and_lines_elsewhere(monkeypatch):
    assert isinstance(progress_bar(3, "a"), ProgressLines)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bar(3, "a", done=1, unit="step") as bar:
        assert isinstance(bar, tqdm)
        assert (bar.n, bar.total, bar.unit) == (1, 3, "step")


@pytest.mark.parametrize(
    ("count", "text"),
    [(4.84e6, "5 MB"), (1.17e9, "1.2 GB"), (17.2e9, "17 GB"), (99.6e9, "100 GB"), (300e9, "300 GB")],
)
def test_room_says_bytes_in_their_unit_and_what_is_free(tmp_path, monkeypatch, count, text):
    left = lambda free: monkeypatch.setattr("shutil.disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, free))  # noqa: E731
    left(2 * count)
    assert room(count, tmp_path / "not" / "yet").startswith(f"{text}; ")
    assert room(count, tmp_path).endswith(" are free")
    left(0.9 * count)
    assert room(count, tmp_path).endswith(" are free, TOO FEW")
