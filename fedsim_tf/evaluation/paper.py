"""The numbers that Li et al., MICCAI 2020, print: mean and standard deviation over five folds, in percent.

The paper does not name the metric of Tables 2 and 3; they are taken for test Dice. Table 1, the sizes of the splits, is
`data.splits.PAPER_SIZES`.
"""

from __future__ import annotations

from fedsim_tf.arms import BEYOND_PAPER, FEDERATED_PLUS, PLAIN_GAN_ARM

Published = tuple[float, float | None]  # mean, standard deviation where there is one

# Networks trained on synthetic volumes alone, CT20 with 4 labels.
TABLE_2: dict[str, Published | None] = {
    "random_place": None,  # the paper has one row of random shapes, and does not say where they lie
    "random_shape": (67.07, None),
    "alpha_blend": (68.80, None),
    "poisson_blend": (76.44, None),
    PLAIN_GAN_ARM: None,
    "fix_mat_alone": (78.92, None),
}

# Columns of Table 3: data set, and number of annotated training volumes.
COLUMNS = (("ct20", 4), ("ct20", 8), ("ct34lc", 6), ("ct34lc", 12), ("ct34mc", 6), ("ct34mc", 12))
_ROWS = {
    ("single_site", "lower_bound"): "87.65 2.20, 86.33 2.09, 85.25 4.57, 87.27 2.52, 85.32 1.50, 84.65 2.23",
    ("single_site", "ours_fix_mat"): "87.87 4.28, 88.32 5.11, 86.33 1.69, 88.32 1.81, 83.13 2.19, 84.91 1.97",
    ("single_site", "ours_pre"): "87.78 4.28, 91.35 1.55, 87.39 2.34, 88.01 1.30, 85.92 1.37, 84.91 1.35",
    ("single_site", "ours_full"): "88.95 2.97, 91.39 1.27, 85.91 3.61, 88.98 1.86, 84.79 1.73, 85.13 2.31",
    ("single_site", "upper_bound"): "89.81 2.50, 89.81 2.50, 88.76 1.82, 88.76 1.82, 85.75 2.43, 85.75 2.43",
    ("federated", "direct_fl"): "91.65 2.69, 92.45 1.52, 89.34 1.27, 90.17 1.40, 87.11 1.55, 87.29 1.84",
    ("federated", "ours_sim_fl"): "90.71 1.62, 93.45 1.21, 88.33 2.10, 90.19 2.21, 87.15 1.66, 87.40 1.71",
}


# Rows of this project's own beside those of Table 3.
BEYOND_TABLE_3 = (*(("single_site", arm) for arm in BEYOND_PAPER), ("federated", FEDERATED_PLUS))


def _row(text: str) -> dict[tuple[str, int], Published]:
    pairs = [cell.split() for cell in text.split(",")]
    return {column: (float(mean), float(sd)) for column, (mean, sd) in zip(COLUMNS, pairs, strict=True)}


# By experiment and arm, then by column. The upper bound is printed once a data set, and stands in both of its columns.
TABLE_3 = {row: _row(text) for row, text in _ROWS.items()}
