"""How far found hearts are from annotated ones, and how long finding takes: each scan with the others as atlases.

python -m benchmarks.heart_finding --data_root=my_scans --data_label_values=heart:1
"""

import time

import numpy as np
from absl import app, flags

from fedsim_tf.data.cohorts import find_cohort
from fedsim_tf.errors import InputError
from fedsim_tf.localization.finder import HeartFinder
from fedsim_tf.localization.scouts import make_scout

flags.DEFINE_string("data_root", None, "Folder with annotated CTs, as --dataset=nifti reads it.", required=True)
flags.DEFINE_string("data_label_values", "", "What the values in label maps mean.")


def main(_: list[str]) -> None:
    flag = flags.FLAGS
    cohort = find_cohort("nifti", flag.data_root, label_values=flag.data_label_values)
    scouts, making = [], []
    for scan in cohort.annotated:
        case = cohort.load(scan)
        start = time.perf_counter()
        scouts.append(make_scout(case))
        making.append(time.perf_counter() - start)
    finder = HeartFinder(tuple(scouts), edge_mm=200.0)
    print("| scan | found beside the annotated centre, mm (left, back, head) | distance, mm | atlases | s |")
    print("|---|---|---|---|---|")
    distances, seconds = [], []
    for scout, made in zip(scouts, making, strict=True):
        start = time.perf_counter()
        try:
            found = finder.find(scout)
        except InputError as error:
            print(f"| {scout.identity} | {error} | | | |")
            continue
        seconds.append(made + time.perf_counter() - start)
        beside = np.subtract(found.centre_mm, scout.to_patient(scout.heart_mm))
        distances.append(float(np.linalg.norm(beside)))
        where = ", ".join(f"{mm:.0f}" for mm in beside)
        agreeing = f"{found.agreeing} of {found.asked}"
        print(f"| {scout.identity} | {where} | {distances[-1]:.1f} | {agreeing} | {seconds[-1]:.1f} |", flush=True)
    print(f"\nmedian {np.median(distances):.1f} mm, most {max(distances):.1f} mm; {np.median(seconds):.1f} s a scan")


if __name__ == "__main__":
    app.run(main)
