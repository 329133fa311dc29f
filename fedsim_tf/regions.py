"""The seven regions of the heart: ids, names and colours, the order in which they are painted, their names in files.

A label volume holds region ids. Files hold other values or names; each kind of file has a mapping from those to ids,
and another kind of file is another such mapping.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

BACKGROUND = 0
LV = 1  # blood pool of the left ventricle
RV = 2  # blood pool of the right ventricle
LA = 3  # left atrium
RA = 4  # right atrium
MYOCARDIUM = 5  # of the left ventricle
AORTA = 6
PULMONARY_ARTERY = 7
WHOLE_HEART = LV  # a label with this region alone is a heart as a whole: files with binary labels are read so


@dataclasses.dataclass(frozen=True)
class HeartRegion:
    """How a region is shown.

    Attributes:
      title: its name in legends.
      short_name: its name where there is little room.
      colour: hexadecimal RGB.
      structure: its name in RTSTRUCT and SEG, which readers of this and other programs know.
      code: the name of its SNOMED CT code, as pydicom has it.
    """

    title: str
    short_name: str
    colour: str
    structure: str
    code: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Return the colour as red, green and blue, 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue


REGIONS: Mapping[int, HeartRegion] = {
    LV: HeartRegion("LV", "LV", "#c8553d", "Left ventricle", "LeftVentricle"),
    RV: HeartRegion("RV", "RV", "#4f7cac", "Right ventricle", "RightVentricle"),
    LA: HeartRegion("LA", "LA", "#e9a178", "Left atrium", "LeftAtrium"),
    RA: HeartRegion("RA", "RA", "#86b3d1", "Right atrium", "RightAtrium"),
    MYOCARDIUM: HeartRegion("myocardium", "myo", "#d9b38c", "Myocardium", "LeftVentricleMyocardium"),
    AORTA: HeartRegion("aorta", "ao", "#a4243b", "Aorta", "Aorta"),
    PULMONARY_ARTERY: HeartRegion("PA", "PA", "#6a5b95", "Pulmonary artery", "PulmonaryArtery"),
}
REGION_IDS = tuple(REGIONS)  # ascending
GREAT_VESSELS = (AORTA, PULMONARY_ARTERY)
PAINTING_ORDER = (RA, LA, RV, MYOCARDIUM, LV, AORTA, PULMONARY_ARTERY)  # where regions overlap, the later one wins

# Label values to region ids. Several data sets share a table (data/labels.py says which): an alias that only one has
# needs a table of its own.
ID_VALUES: Mapping[int, int] = {region: region for region in (BACKGROUND, *REGION_IDS)}
MMWHS_VALUES: Mapping[int, int] = {
    0: BACKGROUND,
    500: LV,
    600: RV,
    420: LA,
    421: LA,  # a slip in the published files
    550: RA,
    205: MYOCARDIUM,
    820: AORTA,
    850: PULMONARY_ARTERY,
}
# Names that users may write, without blanks, "-" and "_".
HEART = "heart"  # as a whole
LABEL_KINDS = (HEART, "regions")  # what labels tell: the heart as a whole, or its regions apart
ALIASES: Mapping[str, int] = {
    HEART: LV,
    "lv": LV,
    "leftventricle": LV,
    "heartventricleleft": LV,
    "rv": RV,
    "rightventricle": RV,
    "heartventricleright": RV,
    "la": LA,
    "leftatrium": LA,
    "heartatriumleft": LA,
    "ra": RA,
    "rightatrium": RA,
    "heartatriumright": RA,
    "myo": MYOCARDIUM,
    "myocardium": MYOCARDIUM,
    "heartmyocardium": MYOCARDIUM,
    "ao": AORTA,
    "aorta": AORTA,
    "pa": PULMONARY_ARTERY,
    "pulmonaryartery": PULMONARY_ARTERY,
}
# Names of files with one region each, without their suffixes.
MESH_NAMES: Mapping[str, int] = {region.short_name.lower(): number for number, region in REGIONS.items()}
TOTALSEGMENTATOR_NAMES: Mapping[str, int] = {
    "heart_ventricle_left": LV,
    "heart_ventricle_right": RV,
    "heart_atrium_left": LA,
    "heart_atrium_right": RA,
    "heart_myocardium": MYOCARDIUM,
    "aorta": AORTA,
    "pulmonary_artery": PULMONARY_ARTERY,
}


def is_whole_heart(regions: np.ndarray) -> bool:
    """Return whether a label of region ids, of any shape, does not tell regions apart."""
    return int(regions.max(initial=0)) <= WHOLE_HEART


def encode_regions(regions: np.ndarray, values: Mapping[int, int]) -> np.ndarray:
    """Return region ids as the label values of a kind of file.

    Args:
      regions: region ids of any shape.
      values: label value to region id; the first value of a region is written.

    Returns:
      int16, the same shape.
    """
    table = np.zeros(1 + max(values.values()), np.int16)
    for value, region in reversed(list(values.items())):
        table[region] = value
    return table[regions]
