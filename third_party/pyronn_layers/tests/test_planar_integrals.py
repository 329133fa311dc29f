"""Parallel and fan beams against analytic integrals, SciPy, scikit-image, and a phantom that comes back."""

import numpy as np
import pytest
import tensorflow as tf
from planar_geometries import BEAMS, apply, pixel_centres, rays, scan
from pyronn.ct_reconstruction.helpers.filters import filters
from pyronn.ct_reconstruction.layers import backprojection_2d, projection_2d

pytestmark = pytest.mark.filterwarnings("ignore:the detector does not see the whole ellipse")
beams = pytest.mark.parametrize("beam", BEAMS)


class Ellipse:
    """An ellipse of density 1: centre and semi-axes in mm, turned."""

    centre, semi_axes, angle = np.array([3.0, -2.0]), np.array([21.0, 13.0]), 0.4

    def _upright(self, points):
        c, s = np.cos(self.angle), np.sin(self.angle)
        return points @ np.array([[c, -s], [s, c]]) / self.semi_axes

    def chords(self, made):
        """Length in mm of each ray within the ellipse."""
        point, direction = rays(made)
        p, d = self._upright(point - self.centre), self._upright(direction)
        a, b, c = (d * d).sum(-1), (d * p).sum(-1), (p * p).sum(-1) - 1
        return 2 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a

    def image(self, made, fine=8):
        """Share of each pixel within the ellipse."""
        x, y = pixel_centres(made)
        steps = (np.arange(fine) - (fine - 1) / 2) / fine
        share = np.zeros(x.shape)
        for dy in steps * made.volume_spacing[0]:
            for dx in steps * made.volume_spacing[1]:
                points = np.stack([x + dx, y + dy], -1) - self.centre
                share += (self._upright(points) ** 2).sum(-1) < 1
        return (share / fine**2).astype(np.float32)


def box_chords(made):
    """Length in mm of each ray within the image's box, by slabs."""
    point, direction = rays(made)
    low = (made.volume_origin - made.volume_spacing / 2)[::-1].astype(float)
    high = low + (made.volume_shape * made.volume_spacing)[::-1]
    with np.errstate(divide="ignore"):
        a, b = (low - point) / direction, (high - point) / direction
    return np.maximum(np.maximum(a, b).min(-1) - np.minimum(a, b).max(-1), 0.0)


BOXES = {
    "square": {"shape": (12, 12), "angles": (1, 20, 43, 47, 80, 91, 200, 300)},
    "anisotropic, off centre": {"shape": (9, 14), "spacing": (1.7, 0.9), "origin": (-4.0, -8.0), "views": 9},
    "one pixel": {"shape": (1, 1), "spacing": (12.0, 15.0), "angles": (3, 50, 111)},
}


@pytest.mark.parametrize("name", BOXES)
@beams
def test_uniform_box_gives_every_ray_its_exact_chord(beam, name):
    made = scan(beam, **BOXES[name])
    found = apply("projection", np.ones((1, *made.volume_shape)), made)[0]
    np.testing.assert_allclose(found, box_chords(made), atol=1e-4)


@beams
def test_ellipse_converges_to_its_analytic_integrals(beam):
    errors = []
    for n in (32, 64, 128):
        spacing = (64.0 / n, 48.0 / (3 * n // 4))
        made = scan(beam, (n, 3 * n // 4), spacing, 101, 0.75 if beam == "parallel" else 1.2, angles=(7, 40, 130, 255))
        expected = Ellipse().chords(made)
        found = apply("projection", Ellipse().image(made)[None], made)[0]
        errors.append(np.sqrt(np.mean((found - expected) ** 2)) / expected.max())
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]
    assert errors[2] < 0.006


@beams
def test_integrals_agree_with_samples_along_the_rays(beam, rng):
    """Bilinear samples every tenth of a millimetre, by SciPy, of a smooth image."""
    ndimage = pytest.importorskip("scipy.ndimage")
    made = scan(beam, (40, 45), (1.1, 0.8), 61, angles=(0, 33, 45, 90, 117, 240))
    image = ndimage.gaussian_filter(np.pad(rng.standard_normal((16, 21)), 12), 4.0)
    point, direction = rays(made)
    middle = point - (point * direction).sum(-1, keepdims=True) * direction
    t = np.arange(-40.0, 40.0, 0.1)
    places = (middle[..., None] + direction[..., None] * t)[..., ::-1, :]
    index = (places - made.volume_origin[:, None]) / made.volume_spacing[:, None]
    samples = ndimage.map_coordinates(image, np.moveaxis(index, -2, 0), order=1)
    expected = samples.sum(-1) * 0.1
    found = apply("projection", image[None], made)[0]
    assert np.sqrt(np.mean((found - expected) ** 2)) < 3e-3 * np.sqrt(np.mean(expected**2))


def smooth_disc(made, radius):
    x, y = pixel_centres(made)
    return (np.clip((radius - np.hypot(x - 4, y + 3)) / 3 + 0.5, 0, 1) * (1 + 0.2 * np.sin(x / 4))).astype(np.float32)


def test_parallel_beam_agrees_with_scikit_image():
    transform = pytest.importorskip("skimage.transform")
    angles = np.linspace(0.0, 180.0, 9, endpoint=False)
    made = scan("parallel", (65, 65), columns=65, pixel=1.0, angles=-90.0 - angles)  # theirs turn the other way
    image = smooth_disc(made, 20.0)
    sinogram = apply("projection", image[None], made)
    theirs = transform.radon(image, angles).T
    assert np.sqrt(np.mean((sinogram[0] - theirs) ** 2)) < 3e-3 * theirs.max()
    back = transform.iradon(theirs.T, angles, filter_name=None)  # pi / 2 / views
    ours = apply("backprojection", theirs[None], made)[0].numpy() / 2
    inside = np.hypot(*pixel_centres(made)) < 31
    np.testing.assert_allclose(ours[inside], back[inside], rtol=1e-4)


@pytest.mark.parametrize(("beam", "pixel"), [("parallel", 1.0), ("fan", 1.0), ("parallel", 0.6), ("fan", 1.7)])
def test_filtered_back_projection_with_pyronn_brings_the_phantom_back(beam, pixel):
    made = scan(beam, (48, 52), columns=150 if pixel < 1.5 else 90, pixel=pixel, views=120, distances=(200.0, 130.0))
    image = smooth_disc(made, 15.0)
    project = getattr(projection_2d, f"{beam}_projection2d")
    backproject = getattr(backprojection_2d, f"{beam}_backprojection2d")
    sinogram = project(image[None], made)
    before = after = np.float32(1)
    if beam == "fan":
        u = made.detector_origin[0] + pixel * np.arange(made.detector_shape[0])
        after = (1 + (u / made.source_detector_distance) ** 2).astype(np.float32)  # 1 / cos^2
        before = 1 / np.sqrt(after)
    # pyronn's filter is a convolution without the pixel's size
    ramp = filters.ram_lak(made.detector_shape[0], made.detector_spacing[0]) * made.detector_spacing[0]
    filtered = tf.math.real(tf.signal.ifft(tf.signal.fft(tf.cast(sinogram * before, tf.complex64)) * ramp))
    found = backproject(filtered * after, made)[0].numpy()
    error = found - image
    x, y = pixel_centres(made)
    core = np.hypot(x - 4, y + 3) < 11
    assert abs(error[core].mean()) < 0.01
    assert np.sqrt(np.mean(error[core] ** 2)) < 0.02
    assert np.sqrt(np.mean(error**2)) < 0.03


def test_back_projection_of_ones_gives_the_weights():
    made = scan("parallel", columns=60)
    found = apply("backprojection", np.ones((1, *made.sinogram_shape)), made)[0]
    np.testing.assert_allclose(found, np.full(made.volume_shape, np.pi), rtol=1e-5)
    made = scan("fan", columns=60)
    found = apply("backprojection", np.ones((1, *made.sinogram_shape)), made)[0]
    sources = -made.source_isocenter_distance * made.central_ray_vectors.astype(float)
    x, y = pixel_centres(made)
    squared = (x - sources[:, :1, None]) ** 2 + (y - sources[:, 1:, None]) ** 2
    scale = np.pi * made.source_isocenter_distance * made.source_detector_distance
    np.testing.assert_allclose(found, np.mean(scale / squared, 0), rtol=1e-5)
