"""Tiny cohorts on disk: a bright ball as heart in noisy air, in the layouts of the data sets."""

import pathlib

import numpy as np
import SimpleITK as sitk

from fedsim_tf.regions import LV, MYOCARDIUM, PULMONARY_ARTERY
from tests.shape.shapes_for_tests import population_of_regions, sphere

CUBE = (32, 32, 32)
EXTENT_MM = 96.0
HEART_HU, AIR_HU = 150, -800


def ball(seed: int, shape=CUBE) -> tuple[np.ndarray, np.ndarray]:
    """CT (int16) and mask (uint8) of a ball of some 25 mm somewhere near the centre."""
    rng = np.random.default_rng(seed)
    axes = [(np.arange(n) + 0.5) * EXTENT_MM / n - EXTENT_MM / 2 for n in shape]
    centre, radius = rng.uniform(-8, 8, 3), rng.uniform(22, 30)
    squared = sum((a - c) ** 2 for a, c in zip(np.meshgrid(*axes, indexing="ij"), centre, strict=True))
    mask = (squared < radius**2).astype(np.uint8)
    return (np.where(mask, HEART_HU, AIR_HU) + rng.normal(0, 30, shape)).astype(np.int16), mask


def write(
    path: pathlib.Path, array: np.ndarray, *, origin=(10.0, -20.0, 30.0), direction=(-1, 0, 0, 0, -1, 0, 0, 0, 1)
):
    """Writes with SimpleITK directly, spanning EXTENT_MM along each axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing([EXTENT_MM / n for n in array.shape[::-1]])
    image.SetOrigin(origin)
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


def write_own_cohort(
    root: pathlib.Path, *, annotated: int = 6, unannotated: int = 1, seed: int = 0, by_region: bool = False
) -> None:
    """`images/` and `labels/`; every third volume is no cube of 32 voxels. By region, balls have three parts."""
    for number in range(annotated + unannotated):
        image, mask = ball(seed + number, (20, 24, 28) if number % 3 == 2 else CUBE)
        write(root / "images" / f"case_{number}.nii.gz", image)
        if number < annotated:
            write(root / "labels" / f"case_{number}.nii.gz", cut_in_thirds(mask) if by_region else mask)


def cut_in_thirds(mask: np.ndarray) -> np.ndarray:
    """Region ids of a mask, of which the parts from left to right are other regions."""
    low, high = np.quantile(np.argwhere(mask)[:, 2], [1 / 3, 2 / 3])
    column = np.arange(mask.shape[2])
    return mask * np.where(column < low, LV, np.where(column < high, MYOCARDIUM, PULMONARY_ARTERY)).astype(np.uint8)


def write_paper_cohort(root: pathlib.Path, site: str, *, count: int = 5) -> None:
    """As MM-WHS lays it out for ct20, as CHD68 does for the others, with a division."""
    stem = "ct_train" if site == "ct20" else "ct"
    for number in range(1001, 1001 + count):
        image, mask = ball(number + 100 * len(site))
        write(root / f"{stem}_{number}_image.nii.gz", image)
        write(root / f"{stem}_{number}_label.nii.gz", mask.astype(np.int16) * (500 if site == "ct20" else 1))
    if site != "ct20":
        rows = [f"{number},{site}" for number in range(1001, 1001 + count)]
        (root / "division.csv").write_text("\n".join(["id,site", *rows]) + "\n")


def write_shapes_of_regions(path: pathlib.Path) -> pathlib.Path:
    """Corresponding shapes for a shape model of a few modes with all seven regions."""
    shapes, faces, region_id = population_of_regions(n=12)
    np.savez(path, shapes=shapes, faces=faces, region_id=region_id)
    return path


def write_shapes(path: pathlib.Path) -> pathlib.Path:
    """Corresponding shapes for a shape model of a few modes: two coarse balls, stretched at random."""
    left, faces = sphere(18.0, centre=(-14, 0, 3), subdivisions=1)
    right, _ = sphere(15.0, centre=(22, 4, -2), subdivisions=1)
    region_id = np.repeat([1, 2], len(left)).astype(np.uint8)
    stretch = 1 + 0.1 * np.random.default_rng(0).standard_normal((12, 2, 3))
    shapes = (np.concatenate([left, right]) * stretch[:, region_id - 1]).astype(np.float32)
    np.savez(path, shapes=shapes, faces=np.concatenate([faces, faces + len(left)]), region_id=region_id)
    return path


def without_times(metrics: dict) -> dict:
    """Metrics without when, how long and with how much memory."""
    facts = {key: value for key, value in metrics["facts"].items() if key != "finished"}
    stages = {
        name: {key: value for key, value in record.items() if not key.endswith(("seconds", "bytes"))}
        for name, record in metrics["stages"].items()
    }
    return {**metrics, "facts": facts, "stages": stages}
