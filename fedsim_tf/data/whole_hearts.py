"""The scans of TotalSegmentator that show a whole heart: most show other parts of the body, or cut the heart off.

The masks of the myocardium, or of the heart in version 2, say which, but reading all 1204 takes a minute or two. So the
answers are kept, each under the name, size and time of change of its mask.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence

from fedsim_tf.data.case_files import CaseFiles
from fedsim_tf.data.contents import stat_file
from fedsim_tf.data.labels import parse_mask
from fedsim_tf.data.reading import read_volume
from fedsim_tf.errors import InputError, Refusals
from fedsim_tf.files import digest_json, read_json, write_json
from fedsim_tf.regions import LV, MYOCARDIUM

_FORMAT = 2  # another number makes kept answers void


def select_whole_hearts(
    found: Sequence[CaseFiles], root: pathlib.Path, *, cache_dir: str | os.PathLike | None = None
) -> list[CaseFiles]:
    """Return the scans whose myocardium, or heart in version 2, lies inside the image without touching its border.

    Args:
      found: scans with a mask for each region.
      root: the data set's folder.
      cache_dir: the folder in which answers are kept; a damaged file there is made again. None keeps nothing.

    Raises:
      InputError: damaged masks, or no such scan.
    """
    kept = (
        None
        if cache_dir is None
        else pathlib.Path(cache_dir) / f"whole_hearts_{digest_json(str(root.resolve()))[:16]}.json"
    )
    known, answers = _read_answers(kept), {}
    refusals, whole = Refusals(root), []
    for files in found:
        with refusals.each():
            mask = _get_mask(files)
            key = _make_key(mask)
            answers[key] = known[key] if key in known else _shows_whole_heart(mask)
            if answers[key]:
                whole.append(files)
    if kept is not None and answers != known:
        write_json(kept, {"format": _FORMAT, "whole": answers})
    refusals.check()
    if not whole:
        raise InputError(root, found=f"no whole heart in {len(found)} CTs", expected="CTs of the chest")
    return whole


def _read_answers(path: pathlib.Path | None) -> dict[str, bool]:
    if path is None or not path.exists():
        return {}
    try:
        stored = read_json(path)
    except (InputError, OSError):
        return {}
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT or not isinstance(stored.get("whole"), dict):
        return {}
    return {key: answer for key, answer in stored["whole"].items() if isinstance(answer, bool)}


def _get_mask(files: CaseFiles) -> pathlib.Path:
    masks = files.label if isinstance(files.label, Mapping) else {}
    if MYOCARDIUM in masks:
        return masks[MYOCARDIUM]
    if list(masks) == [LV]:  # version 2's heart as a whole
        return masks[LV]
    raise InputError(files.image, found="no mask of the myocardium", expected="a mask for each region")


def _make_key(mask: pathlib.Path) -> str:
    """Return a digest, which does not show the names of patients, of a mask's path, size and time of change."""
    found = stat_file(mask)
    return digest_json([str(mask.absolute()), found.st_size, found.st_mtime_ns])[:32]


def _shows_whole_heart(path: pathlib.Path) -> bool:
    mask = parse_mask(read_volume(path).array, path)
    inside = int(mask[1:-1, 1:-1, 1:-1].sum())
    return inside > 0 and inside == int(mask.sum())
