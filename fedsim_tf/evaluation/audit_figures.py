"""The picture of an audit: patients' coarse CTs beside what an attacker recovers, in three planes."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from fedsim_tf.evaluation.figures import panel
from fedsim_tf.evaluation.planes import PLANE_NAMES, cut_planes

_COLUMNS = ("patient", "recovered", "mean of the others")


def draw_findings(
    path: pathlib.Path, rows: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], *, title: str
) -> None:
    """Draw the middle slices of each patient, plane by plane: the true CT, the recovered one, the others' mean.

    Args:
      path: the PNG to write.
      rows: by the patient's name the three CTs (c, c, c) in [-1, 1]; their axes are those of `cut_planes`.
      title: above everything; says which cohort this is.
    """
    cells = []
    for volumes in rows.values():
        cuts = [cut_planes(volume, [edge // 2 for edge in volume.shape]) for volume in volumes]
        cells.append([(cut[plane], None, None) for plane in range(len(PLANE_NAMES)) for cut in cuts])
    columns = [f"{plane}: {column}" for plane in PLANE_NAMES for column in _COLUMNS]
    panel(path, cells, columns=columns, title=f"{title} ({', '.join(rows)})")
