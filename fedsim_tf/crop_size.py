"""What a user says about the size of crops around hearts."""

from __future__ import annotations

from fedsim_tf.errors import InputError

AUTO = "auto"
LEAST_MM, MOST_MM = 60.0, 1000.0


def parse_crop_size(text: str) -> float | str:
    """Return the edge of crops in mm, 0 for whole fields of view, or "auto".

    Raises:
      InputError: another word, or an edge that no crop around a heart has.
    """
    if text == AUTO:
        return AUTO
    try:
        edge_mm = float(text)
    except ValueError:
        edge_mm = -1.0
    if edge_mm != 0 and not LEAST_MM <= edge_mm <= MOST_MM:
        must = f"be 0 (the whole field of view), {AUTO}, or an edge of {LEAST_MM:g} to {MOST_MM:g} mm"
        raise InputError("crop_mm", value=text, must=must)
    return edge_mm
