"""Messages as FLARE's models, the kind of data that FLARE streams and filters."""

from __future__ import annotations

from nvflare.app_common.abstract.fl_model import FLModel, ParamsType

from fedsim_tf.errors import InputError
from fedsim_tf.federated.message import Message

_WORDS, _LOSSES = "fedsim_words", "fedsim_losses"


def message_to_model(message: Message) -> FLModel:
    """Return the model that FLARE sends for a message."""
    return FLModel(
        params_type=ParamsType.FULL,
        params=dict(message.arrays),
        current_round=message.words["round"],
        meta={_WORDS: dict(message.words), _LOSSES: dict(message.losses)},
    )


def model_to_message(model: FLModel) -> Message:
    """Return the message that a model of FLARE holds.

    Raises:
      InputError: it holds no message of this project.
    """
    meta = model.meta or {}
    if _WORDS not in meta or _LOSSES not in meta:
        raise InputError("FLARE's model", found=f"one with {sorted(meta)}", expected="a message of this project")
    return Message(meta[_WORDS], model.params or {}, meta[_LOSSES])
