"""JSON files with a version: how a dataclass is written to one and read back from it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import pydantic

from fedsim_tf.errors import InputError
from fedsim_tf.files import read_json, write_text

_VERSION = "version"


@dataclasses.dataclass(frozen=True)
class Record:
    """The contents of one JSON file, without its version.

    Attributes:
      VERSION: the version that is written; readers take earlier ones, whose fields later ones have too, and refuse
        later ones.
      REMEDY: what to do about a file that cannot be read, for messages.
    """

    VERSION: ClassVar[int] = 1
    REMEDY: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Return the version and the fields as JSON has them; fields that are None are left out."""
        return {_VERSION: self.VERSION, **convert_to_json(self)}


RecordKind = TypeVar("RecordKind", bound=Record)
Kind = TypeVar("Kind")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]


def write_record(path: str | os.PathLike, record: Record) -> None:
    """Write a record as JSON, atomically; entries keep their order."""
    write_text(path, json.dumps(record.to_json(), indent=2) + "\n")


def read_record(path: str | os.PathLike, kind: type[RecordKind], *, upgrade: Upgrade | None = None) -> RecordKind:
    """Return the record that a file holds.

    Args:
      path: the JSON file.
      kind: the record's class.
      upgrade: makes the contents of a file without a version, from before there was one, those of version 1; None:
        they are the same.

    Raises:
      InputError: the file is damaged or cut short, lacks something, is of a later version, or is something else.
    """
    return parse_record(read_object(path, remedy=kind.REMEDY), kind, subject=path, upgrade=upgrade)


def read_object(path: str | os.PathLike, *, remedy: str) -> dict[str, Any]:
    """Return the JSON object that a file holds.

    Raises:
      InputError: the file is damaged, cut short or holds something else; the message ends with the remedy.
    """
    try:
        values = read_json(path)
    except InputError:
        raise InputError(path, found="damaged or incomplete JSON", expected=f"a whole file: {remedy}") from None
    if not isinstance(values, dict):
        raise InputError(path, found="JSON of something else", expected=f"fields and their values: {remedy}")
    return values


def parse_record(
    values: dict[str, Any], kind: type[RecordKind], *, subject: object, upgrade: Upgrade | None = None
) -> RecordKind:
    """Return the record that a file's contents are; see `read_record`."""
    if _VERSION not in values:
        written = "before files had a version"
        values = upgrade(values) if upgrade else values
    elif values[_VERSION] in range(1, kind.VERSION + 1):
        written = f"as version {values[_VERSION]}"
    else:
        found, newest = values[_VERSION], kind.VERSION
        expected = f"at most {newest}: use the newer fedsim_tf that wrote the file, or {kind.REMEDY}"
        raise InputError(subject, found=f"version {found!r}", expected=expected)
    return parse(values, kind, subject=subject, expected=f"what a file written {written} has: {kind.REMEDY}")


def parse(values: object, kind: type[Kind], *, subject: object, expected: str) -> Kind:
    """Return JSON values as a dataclass, or as another type; what the type does not know is left out.

    Args:
      values: what JSON gave.
      kind: the type.
      subject: the file, for messages.
      expected: what was expected in it and what to do, for messages.

    Raises:
      InputError: names the first value that is missing or of another type.
    """
    try:
        return pydantic.TypeAdapter(kind).validate_python(values)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        if first["type"] == "missing":
            found = f"no {place}"
        elif first["type"] == "value_error":
            found = str(first["ctx"]["error"])
        else:
            found = f"{place}: {first['msg'][0].lower()}{first['msg'][1:]}".removeprefix(": ")
        raise InputError(subject, found=found, expected=expected) from None


def convert_to_json(value: Any) -> Any:
    """Return dataclasses, named tuples, mappings and sequences as JSON has them; fields that are None are left out."""
    if dataclasses.is_dataclass(value):
        found = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {name: convert_to_json(one) for name, one in found.items() if one is not None}
    if hasattr(value, "_asdict"):
        return convert_to_json(value._asdict())
    if isinstance(value, Mapping):
        return {name: convert_to_json(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [convert_to_json(one) for one in value]
    return value
