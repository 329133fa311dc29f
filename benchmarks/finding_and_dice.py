"""What a network loses because hearts are found and not known: Dice of crops around found and annotated centres.

python -m benchmarks.finding_and_dice RUN --arm=upper_bound

RUN is a finished run on one's own data with `--data_crop_mm`. Each fold's network segments that fold's test patients
twice, and both masks are compared with the label on the CT's own grid.
"""

import argparse
import pathlib

import numpy as np
from scipy import stats

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.data.crops import Crop
from fedsim_tf.data.preprocess import prepare, resample_to_original
from fedsim_tf.localization.scouts import make_scout
from fedsim_tf.metrics import dice
from fedsim_tf.records.fold_data import DATA, TEST, read_fold_data
from fedsim_tf.tools.segment import open_network
from fedsim_tf.volume import Case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--arm", default="upper_bound")
    arguments = parser.parse_args()
    print("| fold | scan | centre off, mm | Dice after finding | Dice around the annotated centre |")
    print("|---|---|---|---|---|")
    rows = [row for fold in sorted(arguments.run.glob("fold_*")) for row in compare_fold(fold, arguments.arm)]
    found, known = np.transpose(rows)
    difference = stats.ttest_rel(found, known)
    print(f"\nmean Dice {found.mean():.1f} after finding, {known.mean():.1f} around the annotated centre ", end="")
    print(f"({len(rows)} scans; {np.mean(found - known):+.1f}, p {difference.pvalue:.2f})")


def compare_fold(fold: pathlib.Path, arm: str) -> list[tuple[float, float]]:
    """Return both Dice of each test scan of a fold."""
    network = open_network(fold, arm)
    config = network.fold.run.config
    cohort = find_cohort(config.dataset, config.data.root, label_values=config.data.label_values)
    rows = []
    for scan in read_fold_data(network.fold.run.path / DATA).parts[TEST]:
        case = cohort.load(scan)
        scout = make_scout(case)
        around_found = network.find_crop(case, scan)
        around_known = Crop(scout.to_patient(scout.heart_mm), around_found.edges_mm)
        both = [score(network, case, crop) for crop in (around_found, around_known)]
        off = np.linalg.norm(np.subtract(around_found.centre_mm, around_known.centre_mm))
        print(f"| {fold.name[-1]} | {scan} | {off:.1f} | {both[0]:.1f} | {both[1]:.1f} |", flush=True)
        rows.append((both[0], both[1]))
    return rows


def score(network, case: Case, crop: Crop) -> float:
    """Return the Dice in percent of the mask that a network finds in a crop, on the CT's own grid."""
    config = network.fold.run.config
    prepared = prepare(case, config.model.size, window_hu=config.data.window_hu, crop=crop)
    mask = resample_to_original(network.segment(prepared.image), prepared, nearest=True)
    return dice(mask.array, case.label.array)


if __name__ == "__main__":
    main()
