"""Scan a CT volume with a simulated cone-beam scanner, reconstruct it and compare both.

python examples/reconstruct_ct.py ct.nii.gz --out=comparison.png

It needs pyronn==0.1.0, pyronn-layers, SimpleITK and matplotlib. HU become attenuation at 70 keV. The scan is a full
circle that sees the whole volume. The reconstruction is Feldkamp's: cosine weights, ramp filter, weighted
back-projection.
"""

import argparse
import sys
import time

import matplotlib

matplotlib.use("Agg")
import numpy as np
import SimpleITK as sitk
import tensorflow as tf
from matplotlib import pyplot as plt
from pyronn.ct_reconstruction.geometry.geometry_cone_3d import GeometryCone3D
from pyronn.ct_reconstruction.helpers.trajectories.circular_trajectory import circular_trajectory_3d
from pyronn.ct_reconstruction.layers.backprojection_3d import cone_backprojection3d
from pyronn.ct_reconstruction.layers.projection_3d import cone_projection3d

MU_WATER_PER_MM = 0.01929  # at 70 keV


def scan_geometry(shape, spacing_mm, views):
    """Return a circular scan of a volume (z, y, x): source at four radii, detector at six, pixels as fine as voxels."""
    half = np.array(shape) * spacing_mm / 2
    radius = np.hypot(half[1], half[2])
    source = 4 * max(radius, half[0])
    detector = 1.5 * source
    rows, columns = 2 * shape[0], 2 * max(shape[1:])
    width = 2 * detector * radius / np.sqrt(source**2 - radius**2)
    height = 2 * detector * half[0] / (source - radius)
    pixel = [height / (rows - 2), width / (columns - 2)]
    made = GeometryCone3D(
        volume_shape=list(shape),
        volume_spacing=list(spacing_mm),
        detector_shape=[rows, columns],
        detector_spacing=pixel,
        number_of_projections=views,
        angular_range=2 * np.pi,
        source_detector_distance=detector,
        source_isocenter_distance=source,
    )
    made.set_trajectory(circular_trajectory_3d(made))
    return made


def weigh_and_filter(sinogram, geometry):
    """Apply Feldkamp's cosine weights, then the band-limited ramp filter (Kak and Slaney, eq. 3.61) as a matrix."""
    sides = zip(geometry.detector_shape, geometry.detector_spacing, strict=True)
    v, u = ((np.arange(n) - (n - 1) / 2) * s for n, s in sides)
    distance, pixel = geometry.source_detector_distance, float(geometry.detector_spacing[1])
    cosines = distance / np.sqrt(distance**2 + u**2 + v[:, None] ** 2)
    apart = np.abs(np.subtract.outer(np.arange(len(u)), np.arange(len(u))))
    with np.errstate(divide="ignore"):
        ramp = np.where(apart % 2 == 1, -1 / (np.pi * apart * pixel) ** 2, 0)
    np.fill_diagonal(ramp, 1 / (4 * pixel**2))
    return tf.matmul(sinogram * tf.constant(cosines, tf.float32), tf.constant(ramp[None, None], tf.float32))


def reconstruct(hu, spacing_mm, views):
    """Return HU (z, y, x) after a scan, the sinogram (views, rows, columns) and the seconds that both took."""
    mu = np.maximum(hu / 1000 + 1, 0) * MU_WATER_PER_MM
    geometry = scan_geometry(hu.shape, spacing_mm, views)
    start = time.perf_counter()
    sinogram = cone_projection3d(tf.constant(mu[None], tf.float32), geometry)
    found = cone_backprojection3d(weigh_and_filter(sinogram, geometry), geometry)[0].numpy()
    seconds = time.perf_counter() - start
    return (found / MU_WATER_PER_MM - 1) * 1000, sinogram[0].numpy(), seconds


def draw(hu, found, sinogram, path):
    """Draw axial and coronal slices of volume, reconstruction and difference, and two cuts of the sinogram."""
    z, y = hu.shape[0] // 2, hu.shape[1] // 2
    figure, axes = plt.subplots(2, 4, figsize=(14, 7), constrained_layout=True)
    for row, cut in enumerate([np.s_[z], np.s_[::-1, y]]):
        for column, (title, array) in enumerate(
            [("volume", hu), ("reconstruction", found), ("difference", found - hu)]
        ):
            low, high = (-200, 200) if title == "difference" else (-200, 500)
            axes[row, column].imshow(array[cut], cmap="gray", vmin=low, vmax=high, aspect="equal")
            axes[row, column].set_title(f"{title}, {low} to {high} HU")
    axes[0, 3].imshow(sinogram[0], cmap="gray")
    axes[0, 3].set_title("first view")
    axes[1, 3].imshow(sinogram[:, sinogram.shape[1] // 2], cmap="gray", aspect="auto")
    axes[1, 3].set_title("middle row of every view")
    for axis in axes.flat:
        axis.set_axis_off()
    figure.savefig(path, dpi=80)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ct", help="CT volume in HU (NIfTI or anything else that SimpleITK reads)")
    parser.add_argument("--out", default="comparison.png", help="picture to write")
    parser.add_argument("--views", type=int, default=360)
    options = parser.parse_args()
    try:
        image = sitk.ReadImage(options.ct, sitk.sitkFloat32)
    except RuntimeError:
        print(f"{options.ct}: cannot be read as an image", file=sys.stderr)
        return 2
    if image.GetDimension() != 3 or options.views < 1:
        found = f"found {image.GetDimension()} dimensions and --views={options.views}"
        print(f"{options.ct}: {found}; expected a volume and at least one view", file=sys.stderr)
        return 2
    hu = np.maximum(sitk.GetArrayFromImage(image), -1000)
    found, sinogram, seconds = reconstruct(hu, np.array(image.GetSpacing()[::-1]), options.views)
    core = tuple(slice(n // 4, n - n // 4) for n in hu.shape)
    error = (found - hu)[core]
    print(f"{hu.shape} voxels, {sinogram.shape} rays: scanned and reconstructed in {seconds:.1f} s")
    print(f"middle half: mean error {error.mean():.1f} HU, rms {error.std():.1f} HU (edges are as sharp as the pixels)")
    draw(hu, found, sinogram, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
