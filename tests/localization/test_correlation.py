import numpy as np
import pytest

from fedsim_tf.localization.correlation import MaskedCorrelator, find_peak


def plain(image, known, template, weights, at):
    """The correlation at one place by its definition: with weights, over the voxels that both know."""
    half = np.array(template.shape) // 2
    pairs = []
    for index in np.ndindex(template.shape):
        place = tuple(np.array(at) + index - half)
        if all(0 <= p < n for p, n in zip(place, image.shape, strict=True)):
            pairs.append((image[place], template[index], known[place] * weights[index]))
    a, b, w = np.array(pairs).T
    a, b = a - np.average(a, weights=w), b - np.average(b, weights=w)
    return (w * a * b).sum() / np.sqrt((w * a * a).sum() * (w * b * b).sum())


def test_every_place_has_the_correlation_of_its_definition():
    random = np.random.default_rng(0)
    image, template = random.normal(300, 100, (9, 8, 10)), random.normal(-700, 50, (5, 3, 7))
    known, weights = random.random(image.shape) < 0.9, random.random(template.shape)
    found = MaskedCorrelator(image, known, (7, 7, 7)).correlate(template, weights, least_overlap=0.1)
    for at in [(4, 4, 5), (0, 0, 0), (8, 7, 9), (1, 6, 3)]:
        assert found[at] == pytest.approx(plain(image, known, template, weights, at), abs=2e-4)


def test_places_with_little_overlap_are_left_out():
    image, template = np.random.default_rng(1).normal(size=(2, 7, 7, 7))
    found = MaskedCorrelator(image, np.ones_like(image), template.shape).correlate(template, np.ones_like(template))
    assert found[0, 0, 0] == -1.0
    assert found[3, 3, 3] > -1.0


def test_a_peak_lies_between_voxels():
    z, y, x = np.meshgrid(*(np.arange(9.0),) * 3, indexing="ij")
    place, value = find_peak(1 - 0.01 * ((z - 3.3) ** 2 + (y - 5.0) ** 2 + (x - 4.8) ** 2))
    np.testing.assert_allclose(place, (3.3, 5.0, 4.8), atol=1e-9)
    assert value == pytest.approx(1 - 0.01 * (0.09 + 0.04))


def test_a_peak_at_the_border_stays_there():
    place, _ = find_peak(np.arange(27.0).reshape(3, 3, 3))
    assert place.tolist() == [2, 2, 2]
