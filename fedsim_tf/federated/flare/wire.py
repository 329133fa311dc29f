"""Messages as FLARE's models: the engine's own kinds of data, which it streams and filters."""

from __future__ import annotations

from nvflare.app_common.abstract.fl_model import FLModel, ParamsType

from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import Message

_WORDS, _LOSSES = "fedsim_words", "fedsim_losses"


def to_model(message: Message) -> FLModel:
    """What FLARE sends."""
    return FLModel(
        params_type=ParamsType.FULL,
        params=dict(message.arrays),
        current_round=message.words["round"],
        meta={_WORDS: dict(message.words), _LOSSES: dict(message.losses)},
    )


def to_message(model: FLModel) -> Message:
    """What was sent.

    Raises:
      InputError: no message of this project.
    """
    meta = model.meta or {}
    if _WORDS not in meta or _LOSSES not in meta:
        raise InputError("FLARE's model", found=f"one with {sorted(meta)}", expected="a message of this project")
    return Message(meta[_WORDS], model.params or {}, meta[_LOSSES])
