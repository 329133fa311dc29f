"""How fast a data set is listed, checked and prepared, and what takes the time.

python -m benchmarks.checking [--folder=DIR] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pathlib
import pstats
import tempfile
import time

import numpy as np
import SimpleITK as sitk

from fedsim_tf.data.cache import prepare_cohort
from fedsim_tf.data.cohorts import find_cohort

# name: scans, voxels (z, y, x), spacing (x, y, z) in mm
_SETS = {
    "small": (250, (40, 64, 64), (6.0, 6.0, 6.0)),  # 500 files with their labels
    "clinical": (5, (60, 512, 512), (0.7, 0.7, 3.0)),  # 10 files
}
_SIZE = 64


def write_set(root: pathlib.Path, count: int, shape: tuple[int, int, int], spacing_mm: tuple[float, ...]) -> None:
    """Write CTs with a noisy body, lungs and a ball as heart, and the labels, as int16 and uint8 in .nii.gz."""
    rng = np.random.default_rng(0)
    places = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(np.square(place) for place in places))
    for number in range(count):
        heart = radius < 0.4 + 0.05 * rng.random()
        hu = np.select([heart, radius < 0.8], [100.0, -750.0], 0.0) + rng.normal(0, 25, shape)
        for folder, array in (("images", hu.astype(np.int16)), ("labels", heart.astype(np.uint8))):
            (root / folder).mkdir(parents=True, exist_ok=True)
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(spacing_mm)
            sitk.WriteImage(image, str(root / folder / f"scan_{number:03d}.nii.gz"), useCompression=True)


def measure(root: pathlib.Path) -> dict[str, float]:
    """Return the CPU seconds that listing, reading with all checks, and reading and preparing take, by their names."""
    begin = time.process_time()
    cohort = find_cohort("nifti", root)
    listed = time.process_time()
    for identity in cohort.identities:
        cohort.load(identity)
    checked = time.process_time()
    prepare_cohort(cohort, cohort.identities, _SIZE)
    return {"listed": listed - begin, "checked": checked - listed, "prepared": time.process_time() - checked}


def main() -> None:
    """Print files a second of each set, and with --profile the functions that take the time."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", help="where the sets are written and kept; by default they are removed")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name, (count, shape, spacing_mm) in _SETS.items():
            root = pathlib.Path(given.folder or temporary) / name
            if not root.exists():
                write_set(root, count, shape, spacing_mm)
            with cProfile.Profile() as profile:
                if not given.profile:
                    profile.disable()
                seconds = measure(root)
            for step, each in seconds.items():
                print(
                    f"{name}: {2 * count} files {step} in {each:.2f} CPU s, {2 * count / each:.3g} files/s", flush=True
                )
            if given.profile:
                pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
