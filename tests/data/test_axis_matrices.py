import numpy as np
import pytest
import SimpleITK as sitk

from fedsim_tf.data.axis_matrices import make_axis_matrix, resample_field_of_view


def resample_with_itk(array, shape):
    """A discrete Gaussian and linear interpolation by ITK: voxels of 1 mm become larger or smaller ones."""
    growth = np.array(array.shape[::-1]) / np.array(shape[::-1])
    image = sitk.GetImageFromArray(array)
    variance = np.maximum(growth**2 - 1.0, 0.0) / (8.0 * np.log(2.0))
    if variance.any():
        image = sitk.DiscreteGaussian(image, variance.tolist(), maximumKernelWidth=256, maximumError=1e-3)
    size, origin = [int(n) for n in shape[::-1]], ((growth - 1.0) / 2.0).tolist()
    linear, axes = sitk.sitkLinear, image.GetDirection()
    found = sitk.Resample(
        image, size, sitk.Transform(), linear, origin, growth.tolist(), axes, 0.0, sitk.sitkFloat32, True
    )
    return sitk.GetArrayFromImage(found)


@pytest.mark.parametrize("shape", [(8, 8, 8), (5, 40, 13), (21, 17, 30), (64, 11, 3), (21, 9, 30)])
def test_it_is_what_itk_does_step_by_step(rng, shape):
    array = rng.uniform(-1, 1, (21, 17, 30)).astype(np.float32)
    found = resample_field_of_view(array, shape)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, resample_with_itk(array, shape), atol=2e-6)


def test_a_constant_stays_and_a_ramp_keeps_its_slope_away_from_the_border():
    np.testing.assert_allclose(resample_field_of_view(np.full((9, 20, 33), 0.7), (4, 4, 4)), 0.7, atol=1e-6)
    ramp = make_axis_matrix(120, 30) @ (np.arange(120) + 0.5)
    np.testing.assert_allclose(ramp[3:-3], (np.arange(30)[3:-3] + 0.5) * 4, rtol=1e-6)


def test_the_spread_of_a_point_is_the_matched_one():
    """A voxel of the fine grid, seen by every phase of a coarse one: full width at half maximum of a coarse voxel."""
    fine, growth = 400, 8
    spread = make_axis_matrix(fine, fine // growth)[25]
    places = np.arange(fine)
    mean = (spread * places).sum()
    gaussian = (growth**2 - 1.0) / (8.0 * np.log(2.0))
    between = 0.25  # of the two neighbours, half a voxel away each, that linear interpolation takes
    assert mean == pytest.approx(25.5 * growth - 0.5, abs=1e-3)
    assert ((places - mean) ** 2 * spread).sum() == pytest.approx(gaussian + between, rel=0.02)
