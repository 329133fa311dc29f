"""Layouts that a file describes: nnU-Net's dataset.json, a MONAI datalist, a CSV of pairs."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from fedsim_tf.data.case_files import CaseFiles, check_partners, index_files, name_scans
from fedsim_tf.data.csv_files import CsvRow, read_csv
from fedsim_tf.data.formats import VOLUME_SUFFIXES, has_suffix, strip_suffix
from fedsim_tf.data.labels import LabelScheme
from fedsim_tf.data.structures import find_regions
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.files import read_json

_CHANNEL = re.compile(r"(.+)_(\d{4})$")
_MONAI_PARTS = ("training", "validation")  # folds divide them anew; "testing" has no labels


class _Entry(NamedTuple):
    """A line of a list: where it stands, the image, the label or None, and the patient or nothing."""

    where: str
    image: str
    label: str | None
    patient: str = ""


def find_nnunet(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans of nnU-Net's raw data: imagesTr, labelsTr and dataset.json, whose label names are read.

    Raises:
      InputError: channels none of which is the only CT, labels without a heart, or files that lack another.
    """
    file = root / "dataset.json"
    if not file.is_file() or not (root / "imagesTr").is_dir():
        return []
    facts = _read_object(file)
    channel = _find_ct_channel(facts, file)
    labels = index_files((strip_suffix(path), path) for path in _volumes_in(root / "labelsTr"))
    images = {}
    for path in _volumes_in(root / "imagesTr"):
        name = strip_suffix(path)
        match = _CHANNEL.match(name)
        if match and name not in labels:  # version 1 had no channels in names of a single one
            if int(match.group(2)) == channel:
                images[match.group(1)] = path
        else:
            images[name] = path
    expected = lambda name: f"imagesTr/{name}_{channel:04d}"  # noqa: E731
    check_partners(labels, images, of=root, found="a label without an image", expected=expected)
    scheme = read_scheme(facts.get("labels"), file) if labels else None
    return [CaseFiles(name, path, labels.get(name), scheme) for name, path in images.items()]


def find_in_datalist(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans that a MONAI datalist names, a .json with a list "training" of images and labels.

    Raises:
      InputError: two such lists, entries without an image, or files that are not there.
    """
    if (root / "dataset.json").is_file() and (root / "imagesTr").is_dir():
        return []  # nnU-Net's
    lists = {file: facts for file in sorted(root.glob("*.json")) if (facts := _read_list(file))}
    if len(lists) > 1:
        raise InputError(root, found=f"the lists {', '.join(file.name for file in lists)}", expected="one of them")
    for file, facts in lists.items():
        names = facts.get("labels")
        scheme = read_scheme(names, file) if isinstance(names, Mapping) else None
        return _collect(_read_entries(facts, file), root, scheme)
    return []


def find_in_csv(root: pathlib.Path) -> list[CaseFiles]:
    """Return the scans that a CSV names, with the heading image,label and, if there is one, patient.

    Raises:
      InputError: two such files, rows of another length, or files that are not there.
    """
    lists = {}
    for file in sorted(root.glob("*.csv")):
        rows = _read_rows(file)
        heading = [cell.lower() for cell in rows[0].cells] if rows else []
        if "image" in heading and "label" in heading:
            lists[file] = (heading, rows[1:])
    if len(lists) > 1:
        raise InputError(root, found=f"the lists {', '.join(file.name for file in lists)}", expected="one of them")
    for heading, rows in lists.values():
        entries = []
        for where, cells in rows:
            if len(cells) != len(heading):
                raise InputError(where, found=",".join(cells), expected=",".join(heading))
            row = dict(zip(heading, cells, strict=True))
            entries.append(_Entry(where, row["image"], row["label"] or None, row.get("patient", "")))
        return _collect(entries, root, None)
    return []


def read_scheme(names: Any, file: pathlib.Path) -> LabelScheme:
    """Return the meaning of label values that a file gives names, such as {"background": 0, "heart": 1}.

    Version 1 of nnU-Net has values as keys and names as values. Structures that are no part of a heart are background.

    Raises:
      InputError: no names, values that are no whole numbers, or no heart among them.
    """
    if not isinstance(names, Mapping) or not names:
        raise InputError(file, found="no label names", expected='"labels", such as {"background": 0, "heart": 1}')
    pairs = [(value, key) if isinstance(value, str) else (key, value) for key, value in names.items()]
    values: dict[str, int] = {}
    for name, value in pairs:
        if isinstance(value, list):  # a region of nnU-Net's that is made of others
            continue
        try:
            values[str(name)] = int(value)
        except (TypeError, ValueError):
            found = f"label {name} with the value {value}"
            raise InputError(file, found=found, expected="whole numbers") from None
    given = [name for name, value in values.items() if value != 0 and name.lower() != "ignore"]
    chosen = {given[index]: region for region, index in find_regions([(name,) for name in given], file).items()}
    table = {0: 0, **{values[name]: chosen.get(name, 0) for name in given}}
    return LabelScheme(f"{file.name}", (table,))


def _find_ct_channel(facts: Mapping, file: pathlib.Path) -> int:
    channels = facts.get("channel_names", facts.get("modality", {"0": "CT"}))
    if not isinstance(channels, Mapping) or not channels:
        return 0
    cts = [number for number, name in channels.items() if str(name).upper() in ("CT", "CTA", "CTNORMALIZATION")]
    chosen = cts if cts else list(channels)
    if len(chosen) != 1 or not str(chosen[0]).isdigit():
        found = f"the channels {', '.join(map(str, channels.values()))}"
        raise InputError(file, found=found, expected="one channel, or one of them called CT")
    return int(chosen[0])


def _volumes_in(folder: pathlib.Path) -> list[pathlib.Path]:
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in files if has_suffix(path, VOLUME_SUFFIXES) and not path.name.startswith(".")]


def _read_object(file: pathlib.Path) -> Mapping:
    facts = read_json(file)
    if not isinstance(facts, Mapping):
        raise InputError(file, found="no JSON object", expected="nnU-Net's dataset.json")
    return facts


def _read_list(file: pathlib.Path) -> Mapping | None:
    """Return a JSON file's object if it is a datalist. Other JSON files may lie beside it, damaged ones too."""
    try:
        facts = read_json(file)
    except (InputError, OSError):
        return None
    known = isinstance(facts, Mapping) and isinstance(facts.get("training"), list)
    return facts if known and all(isinstance(one, Mapping) for one in facts["training"]) else None


def _read_rows(file: pathlib.Path) -> list[CsvRow]:
    """Return a CSV's rows; other files than lists may lie there, in an encoding of their own."""
    try:
        return read_csv(file)
    except InputError:
        return []


def _read_entries(facts: Mapping, file: pathlib.Path) -> list[_Entry]:
    entries = []
    for part in _MONAI_PARTS:
        for number, one in enumerate(facts.get(part, []), 1):
            where = f"{file}, {part} {number}"
            image, label = (_one_path(one.get(name), where) for name in ("image", "label"))
            if image is None:
                raise InputError(where, found="no image", expected='"image" with the path of a CT')
            entries.append(_Entry(where, image, label, str(one.get("patient", ""))))
    return entries


def _one_path(value: Any, where: str) -> str | None:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is not None and not isinstance(value, str):
        raise InputError(where, found=str(value), expected="the path of one file")
    return value or None


def _collect(entries: Iterable[_Entry], root: pathlib.Path, scheme: LabelScheme | None) -> list[CaseFiles]:
    """Return the scans of a list's entries, whose paths begin at its folder."""
    entries, refusals = list(entries), Refusals(root)
    for where, *paths, _ in entries:
        for path in filter(None, paths):
            if not (root / path).exists():
                refusals.add(InputError(where, found=f"no file {path}", expected=f"a path below {root}"))
    refusals.check()
    images = [root / entry.image for entry in entries]
    names = name_scans(images, root)
    index_files(zip(names, images, strict=True))
    return [
        CaseFiles(name, image, root / one.label if one.label else None, scheme if one.label else None, one.patient)
        for name, image, one in zip(names, images, entries, strict=True)
    ]
