import logging
import shutil
import sys

import pytest
from tqdm import tqdm

from fedsim_tf.progress import ProgressLines, count_text, duration, progress_bar, room


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
    clock.now += 30.0
    lines.update(3)
    assert said.messages == [
        "volumes: 1 of 1001",
        "volumes: 10 of 1001, 3.33 s/it, 55 min left",
        "volumes: 13 of 1001, 10 s/it, 2.7 h left",
    ]


def test_tracing_in_the_first_step_is_no_part_of_the_time_left(said):
    """A resumed process traces anew: what an earlier one has done does not count either."""
    clock = Clock()
    lines = ProgressLines(135, "gan", done=40, unit="step", interval_s=30.0, clock=clock)
    for seconds in (163.0, 40.0, 42.0, 38.0):
        clock.now += seconds
        lines.update()
    assert said.messages == [
        "gan: step 41 of 135",
        "gan: step 42 of 135",
        "gan: step 43 of 135, 41 s/step, 63 min left",
        "gan: step 44 of 135, 40 s/step, 61 min left",
    ]


def test_the_bar_does_not_count_the_first_step_either(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    clock = Clock()
    with progress_bar(135, "gan", unit="step") as bar:
        bar._pace._clock = clock
        shown = []
        for seconds in (163.0, 40.0, 42.0):
            clock.now += seconds
            bar.update()
            shown.append((bar.format_dict["rate"], str(bar)))
    assert [rate for rate, _ in shown] == [0.0, 0.0, pytest.approx(1 / 41)]
    assert ["<?" in text for _, text in shown] == [True, True, False]
    assert "1:30:12" in shown[2][1]  # 132 steps of 41 s


@pytest.mark.parametrize(
    ("given", "text"),
    [((0, "step"), "0 steps"), ((1, "step"), "1 step"), ((2, "fold"), "2 folds"), ((2, "copy", "copies"), "2 copies")],
)
def test_counts_have_their_noun_in_the_right_number(given, text):
    assert count_text(*given) == text


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
