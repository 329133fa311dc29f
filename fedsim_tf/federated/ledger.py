"""What a site has answered, kept in its own folder, so that it never gives two different answers to one question."""

from __future__ import annotations

import json
import pathlib
import re
import shutil
from collections.abc import Mapping

import numpy as np

from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import Message, answer_to_message, message_to_answer
from fedsim_tf.federated.privacy_account import list_answers_sent, list_rounds_sent
from fedsim_tf.federated.task import KINDS, Answer, Task
from fedsim_tf.files import list_whole_files, make_files_private, read_npz, write_npz

FOLDER = "answers"
_ROUND, _MOMENTS = "round-{:06d}.npz", "moments-{}.npz"
_TEXT = "message"


class Ledger:
    """The answers of a site in one fold: gradients of the last rounds, and moments of latents.

    Answers are on the disk before they leave. Those that were sent and are not kept any more are known from the record
    of what has left, so that their questions are not answered again.

    Args:
      site: the site's name.
      folder: the site's folder of the fold.
      noise: what answers are made with, as `describe_noise` says. One that was made otherwise is not given again.
    """

    def __init__(self, site: str, folder: pathlib.Path, *, noise: Mapping[str, float]):
        self._site, self._folder, self._noise = site, folder / FOLDER, dict(noise)
        self._answered = set(list_rounds_sent(folder))
        self._paid = {row.digest for row in list_answers_sent(folder)}

    def find_round(self, stage: str, number: int) -> Answer | None:
        """Return the answer that was given to a round; None if none was.

        Raises:
          InputError: one was given and is not kept any more, was made with other noise, or its file is damaged.
        """
        file = self._place(stage) / _ROUND.format(number)
        if file.exists():
            return self._read(file)
        if (stage, number) in self._answered:
            found = f"that its answer to round {number} of {stage} has left before"
            raise InputError(f"record of {self._site}", found=found, expected="rounds that it has not answered")
        return None

    def is_paid_for(self, task: Task, answer: Answer) -> bool:
        """Return whether an answer that was kept had left when this process began, or was kept or paid for in it."""
        return answer_to_message(task, answer).digest in self._paid

    def note_paid(self, task: Task, answer: Answer) -> None:
        """Note that an answer that was kept is paid for, whether or not it leaves."""
        self._paid.add(answer_to_message(task, answer).digest)

    def keep_round(self, task: Task, answer: Answer) -> None:
        """Keep the answer to a round, which may leave once this has returned."""
        self._write(self._place(task.stage) / _ROUND.format(task.round), task, answer)
        self._answered.add((task.stage, task.round))

    def forget_rounds(self, stage: str, *, before: int) -> None:
        """Delete the answers to rounds from before a state that the site will never go back behind."""
        for file in list_whole_files(self._place(stage), "round-*.npz"):
            number = re.fullmatch(r"round-(\d+)", file.stem)
            if number and int(number[1]) < before:
                file.unlink()

    def forget_stage(self, stage: str) -> None:
        """Delete the answers of a stage that has ended for good."""
        shutil.rmtree(self._place(stage), ignore_errors=True)

    def find_moments(self, which: str) -> Answer | None:
        """Return the moments that were given, by a word for the latents that were asked for; None if none were.

        Raises:
          InputError: they were made with other noise, or their file is damaged.
        """
        file = self._folder / _MOMENTS.format(which)
        return self._read(file) if file.exists() else None

    def keep_moments(self, which: str, task: Task, answer: Answer) -> None:
        """Keep moments, which may leave once this has returned."""
        self._write(self._folder / _MOMENTS.format(which), task, answer)

    def _place(self, stage: str) -> pathlib.Path:
        return self._folder / stage

    def _write(self, file: pathlib.Path, task: Task, answer: Answer) -> None:
        message = answer_to_message(task, answer)
        text = json.dumps({"words": dict(message.words), "losses": dict(message.losses), "noise": self._noise})
        with make_files_private():
            write_npz(file, {**message.arrays, _TEXT: np.array(text)})
        self._paid.add(message.digest)

    def _read(self, file: pathlib.Path) -> Answer:
        arrays = read_npz(file, texts=(_TEXT,))
        try:
            text = json.loads(str(arrays.pop(_TEXT)))
            message = Message(text["words"], arrays, text["losses"])
            noise = text.get("noise", {})  # files of before do not say, as moments and losses had none
            known = message.words["kind"] in KINDS
        except (ValueError, KeyError, TypeError):
            known = False
        if not known:
            raise InputError(file, found="another file", expected=f"an answer that a site has kept in {FOLDER}")
        if noise != self._noise:
            found = f"an answer that was made with {_name_noise(noise)}"
            expected = f"{_name_noise(self._noise)}, as now: begin a run of another name, this one cannot go on with it"
            raise InputError(file, found=found, expected=expected)
        return message_to_answer(self._site, message)


def _name_noise(noise: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in noise.items()) or "no noise on moments and losses"
