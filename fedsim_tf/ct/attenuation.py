"""Linear attenuation of tissues at an X-ray energy, and CT values.

Elemental attenuation comes from xraydb (Elam, Ravel and Sieber, Radiat. Phys. Chem. 63, 2002); compositions by mass
and densities are those of ICRU Reports 44 (1989) and 46 (1992).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from fedsim_tf.errors import InputError

# Tissues of the body around the heart by CT value: each up to its bound in HU.
BODY_BOUNDS_HU = {"air": -850.0, "lung": -300.0, "adipose": -25.0, "muscle": 200.0, "spongiosa": 900.0}


class Tissue(NamedTuple):
    """A tissue as elements by mass in percent, and its density in g/cm^3."""

    percent: dict[str, float]
    density: float


# Tissues of the body around the heart by CT value, each up to its bound in HU.
BODY_BOUNDS_HU = {"air": -850.0, "lung": -300.0, "adipose": -25.0, "muscle": 200.0, "spongiosa": 900.0}
BODY_DENSEST = "bone"

# Mass in percent: H, C, N, O, then the other elements.
_LUNG = {"H": 10.3, "C": 10.5, "N": 3.1, "O": 74.9, "Na": 0.2, "P": 0.2, "S": 0.3, "Cl": 0.3, "K": 0.2}
_ADIPOSE = {"H": 11.4, "C": 59.8, "N": 0.7, "O": 27.8, "Na": 0.1, "S": 0.1, "Cl": 0.1}
_MUSCLE = {"H": 10.2, "C": 14.3, "N": 3.4, "O": 71.0, "Na": 0.1, "P": 0.2, "S": 0.3, "Cl": 0.1, "K": 0.4}
_BLOOD = {"H": 10.2, "C": 11.0, "N": 3.3, "O": 74.5, "Na": 0.1, "P": 0.1, "S": 0.2, "Cl": 0.3, "K": 0.2, "Fe": 0.1}
_SPONGIOSA = {"H": 8.5, "C": 40.4, "N": 2.8, "O": 36.7, "Na": 0.1, "Mg": 0.1, "P": 3.4, "S": 0.2}
_SPONGIOSA |= {"Cl": 0.2, "K": 0.1, "Ca": 7.4, "Fe": 0.1}
_BONE = {"H": 3.4, "C": 15.5, "N": 4.2, "O": 43.5, "Na": 0.1, "Mg": 0.2, "P": 10.3, "S": 0.3, "Ca": 22.5}
TISSUES = {
    "air": Tissue({"C": 0.0124, "N": 75.5268, "O": 23.1781, "Ar": 1.2827}, 0.0012),
    "water": Tissue({"H": 11.1894, "O": 88.8106}, 1.0),
    "lung": Tissue(_LUNG, 0.382),
    "adipose": Tissue(_ADIPOSE, 0.95),
    "muscle": Tissue(_MUSCLE, 1.05),
    "blood": Tissue(_BLOOD, 1.06),
    "spongiosa": Tissue(_SPONGIOSA, 1.18),
    "bone": Tissue(_BONE, 1.92),
}


def mass_attenuation_cm2_per_g(tissue: str, energy_kev: float) -> float:
    """Return the total mass attenuation coefficient of a tissue.

    Raises:
      InputError: an unknown tissue, or an energy outside 1 to 800 keV.
    """
    if tissue not in TISSUES:
        raise InputError("tissue", found=repr(tissue), expected=f"one of {', '.join(TISSUES)}")
    check_energy(energy_kev)
    parts = TISSUES[tissue].percent.items()
    return 0.01 * float(sum(share * elemental_attenuation(element, energy_kev) for element, share in parts))


def elemental_attenuation(element: str, energy_kev: float) -> float:
    """Return the total mass attenuation coefficient of a chemical element in cm^2/g."""
    import xraydb  # here, as it brings SQLAlchemy and not every process needs it

    return float(xraydb.mu_elam(element, 1000.0 * energy_kev))


def check_energy(energy_kev: float) -> None:
    """Refuse an X-ray energy that attenuation is not known for.

    Raises:
      InputError: an energy outside 1 to 800 keV.
    """
    if not 1.0 <= energy_kev <= 800.0:
        raise InputError("energy_kev", found=energy_kev, expected="1 to 800")


@functools.cache
def tissue_mu_per_mm(tissue: str, energy_kev: float) -> float:
    """Return the linear attenuation coefficient of a tissue in 1/mm."""
    return 0.1 * mass_attenuation_cm2_per_g(tissue, energy_kev) * TISSUES[tissue].density


def contrast_mu_per_mm(iodine_mg_per_ml: float, energy_kev: float) -> float:
    """Return what iodine in a solution adds to its linear attenuation, in 1/mm.

    Raises:
      InputError: a negative concentration.
    """
    if not iodine_mg_per_ml >= 0:
        raise InputError("iodine_mg_per_ml", found=iodine_mg_per_ml, expected="0 or more")
    return 0.1 * elemental_attenuation("I", energy_kev) * iodine_mg_per_ml / 1000.0


def water_mu_per_mm(energy_kev: float) -> float:
    """Return the linear attenuation coefficient of water in 1/mm."""
    return tissue_mu_per_mm("water", energy_kev)


def hu_from_mu(mu_per_mm, mu_water_per_mm: float):
    """Return the CT values in HU of attenuation in 1/mm, an array or a tensor."""
    return (mu_per_mm - mu_water_per_mm) * (1000.0 / mu_water_per_mm)


def mu_from_hu(hu, mu_water_per_mm: float):
    """Return the attenuation in 1/mm of CT values in HU, an array or a tensor."""
    return hu * (mu_water_per_mm / 1000.0) + mu_water_per_mm
