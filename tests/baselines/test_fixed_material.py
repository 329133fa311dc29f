"""Ours-Fix-Mat at the toy site: what is rendered, before anything is learnt."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, spatial

from fedsim_tf.baselines.blending import alpha_blend
from fedsim_tf.baselines.fixed_material import FixedMaterialSite, ShapePretraining, blend_volume, remove_heart
from fedsim_tf.ct import attenuation
from fedsim_tf.ct.atlas import FixedAtlas
from fedsim_tf.losses import iou_loss
from fedsim_tf.metrics import dice
from fedsim_tf.regions import LA, LV, MYOCARDIUM, RA, RV
from fedsim_tf.synthesis import SyntheticVolume
from tests.training.region_site import region_config, region_learner, region_volumes
from tests.training.toy_site import toy_config, toy_learner

pytestmark = pytest.mark.usefixtures("small_gan")

WATER = attenuation.water_mu_per_mm(70.0)
HEART_HU = float(attenuation.hu_from_mu(FixedAtlas().heart_mu_per_mm, WATER))


@pytest.fixture(scope="module")
def learner():
    return toy_learner(toy_config(synthesis={"volumes": 3}))


@pytest.fixture(scope="module")
def site(learner):
    return FixedMaterialSite(learner)


@pytest.fixture(scope="module")
def hearts(site):
    return list(site.random_hearts())


def test_a_body_without_its_heart_has_the_nearest_other_values():
    """A ball of blood in lung, with a wall of bone far away."""
    z, y, x = np.indices((21, 21, 21)) - 10
    ball = (z**2 + y**2 + x**2 < 25).astype(np.float32)
    image = np.where(ball > 0, 300.0, -800.0)
    image[:, :, 20] = 900.0
    body = remove_heart(image, ball, (1.0, 1.0, 1.0))
    assert set(np.unique(body)) == {-800.0, 900.0}
    np.testing.assert_array_equal(body[ball == 0], image[ball == 0])


def test_a_body_without_a_heart_stays_as_it_is():
    image = np.arange(27.0).reshape(3, 3, 3)
    np.testing.assert_array_equal(remove_heart(image, np.zeros(image.shape), (1, 1, 1)), image)
    np.testing.assert_array_equal(remove_heart(image, np.ones(image.shape), (1, 1, 1)), image)


def test_random_hearts_lie_where_annotated_ones_lie_and_are_as_large(learner, hearts):
    """Toy hearts, in clear of the grid's border: volumes and centres of the masks are theirs."""
    labels = learner.data.labelled.labels
    volumes, centres = [label.sum() for label in labels], [ndimage.center_of_mass(label) for label in labels]
    assert len(hearts) == 3
    for heart in hearts:
        distances = np.linalg.norm(np.array(centres) - ndimage.center_of_mass(heart.label), axis=1)
        nearest = int(np.argmin(distances))
        assert distances[nearest] < 0.3
        assert heart.label.sum() == pytest.approx(volumes[nearest], rel=0.03)
    assert dice(hearts[0].label, hearts[1].label) < 99.0


def test_scattered_hearts_are_whole_and_of_any_place_and_size(learner):
    """Those of random hearts' shapes, for which the annotated ones are not even looked at."""
    many = dataclasses.replace(learner.config, synthesis=dataclasses.replace(learner.config.synthesis, volumes=24))
    site = FixedMaterialSite(toy_learner(many))
    labels = [heart.label for heart in site.scattered_hearts()]
    site._learner.data.labelled.labels[:] = 0.0
    for label, again in zip(labels, site.scattered_hearts(), strict=True):
        np.testing.assert_array_equal(label, again.label)
        assert not any(side.any() for axis in range(3) for side in (np.take(label, 0, axis), np.take(label, -1, axis)))
    volumes = np.array([label.sum() for label in labels])
    assert volumes.max() > 4 * volumes.min()
    centres = np.array([ndimage.center_of_mass(label) for label in labels])
    assert np.ptp(centres, axis=0).min() > 6


def test_a_volume_shows_the_atlas_heart_where_its_label_is(site, hearts, learner):
    for volume, heart in zip(site.volumes(iter(hearts)), hearts, strict=True):
        assert volume.image.shape == volume.coarse.shape == (32, 32, 32)
        np.testing.assert_array_equal(volume.label, heart.label)
        core = ndimage.binary_erosion(heart.label, iterations=3)
        assert np.median(volume.coarse[core]) * 1000.0 == pytest.approx(HEART_HU, abs=40)
        outside = ~ndimage.binary_dilation(heart.label, iterations=4)
        assert np.median(volume.coarse[outside]) < -0.6  # the toy's body is lung
        assert np.abs(volume.image).max() <= 1.0


def test_a_blend_gets_the_scan_the_enhanced_image_and_the_heart(site, hearts):
    plain = next(site.volumes(iter(hearts)))

    def blend(foreground, background, mask):
        np.testing.assert_allclose(foreground, plain.coarse, atol=1e-6)
        np.testing.assert_allclose(background, plain.image, atol=1e-5)
        np.testing.assert_array_equal(mask, hearts[0].label)
        return 3.0 * background + 5.0

    np.testing.assert_array_equal(blend_volume(plain, blend).image, 1.0)


def test_the_enhancer_sees_scan_and_true_label_of_annotated_slices(site, learner):
    (semantics, *_) = site.training_slices()
    assert semantics.shape == (8, 32, 32, 3)
    shown = semantics.numpy()
    assert set(np.unique(shown[..., 1])) == {0.0, 1.0}
    inside = ndimage.binary_erosion(shown[..., 1] > 0, np.ones((1, 3, 3)), iterations=2)
    assert shown[..., 0][inside].mean() * 1000.0 == pytest.approx(HEART_HU, abs=80)


def test_shapes_alone_are_learnt(learner):
    stage = ShapePretraining(learner)
    losses, gradients = stage.shared_gradients(0, stage.seeds.rng(0))
    assert set(losses) == {"iou"}
    count = len(learner.model.shape_generator.trainable_variables)
    assert all(np.abs(gradient).max() > 0 for gradient in gradients[:count])
    assert all(tf.reduce_max(tf.abs(gradient)) == 0 for gradient in gradients[count:])


def test_photon_noise_is_the_same_in_a_resumed_run():
    """Whatever was drawn before, by this process or by another one."""
    config = toy_config(model={"simulated_photons": 1e4}, synthesis={"volumes": 1})
    first, second = (FixedMaterialSite(toy_learner(config)) for _ in range(2))
    heart = list(first.random_hearts())[:1]
    tf.random.uniform((5,))
    one, other = (next(site.volumes(iter(heart))).coarse for site in (first, second))
    np.testing.assert_array_equal(one, other)
    noiseless = next(FixedMaterialSite(toy_learner(toy_config(synthesis={"volumes": 1}))).volumes(iter(heart))).coarse
    assert np.abs(one - noiseless).max() > 1e-3


@pytest.fixture(scope="module")
def site_by_region():
    return FixedMaterialSite(region_learner(region_config(synthesis={"volumes": 1})))


def hu_of(region):
    return float(attenuation.hu_from_mu(FixedAtlas().region_mu_per_mm[region - 1], WATER))


def test_chambers_and_wall_are_rendered(site_by_region):
    """In the simulated scan each region's core has its tissue's CT value, in the enhancement network's input too."""
    (heart,) = site_by_region.random_hearts()
    assert set(np.unique(heart.label)) == set(range(8))
    (volume,) = site_by_region.volumes(iter([heart]))
    np.testing.assert_array_equal(volume.label, heart.label)
    for region in (LV, RV, LA, RA):
        core = ndimage.binary_erosion(heart.label == region)
        assert core.sum() > 20
        assert np.median(volume.coarse[core]) * 1000.0 == pytest.approx(hu_of(region), abs=40)
    wall = volume.coarse[heart.label == MYOCARDIUM]
    assert np.percentile(wall, 25) * 1000.0 < 0.5 * (hu_of(MYOCARDIUM) + hu_of(LV))
    (semantics, *_) = site_by_region.training_slices()
    assert semantics.shape == (8, 32, 32, 9)
    masks = semantics[..., 1:8].numpy()
    assert set(np.unique(masks)) == {0.0, 1.0}
    assert masks.sum(axis=-1).max() == 1.0


def test_binary_labels_are_rendered_with_the_nearest_regions_of_the_fitted_shapes():
    """The scan of a heart as a whole, were it taken without blur: within its mask alone, blood by phase and muscle."""
    learner = region_learner(whole=(0, 1, 2))
    site = FixedMaterialSite(learner)
    site._simulator = lambda mu_per_mm, seed: mu_per_mm
    tissues = ["blood"] * 4 + ["muscle"] + ["blood"] * 2
    iodine = np.array([1.0, 0.6, 1.0, 0.6, 0.2, 1.0, 0.6]) * 10.0  # mg/ml in LV, RV, LA, RA, wall, aorta, PA
    mu = [attenuation.tissue_mu_per_mm(one, 70.0) for one in tissues] + iodine * attenuation.contrast_mu_per_mm(
        1.0, 70.0
    )
    low, high = learner.config.data.window_hu
    expected = 2.0 * (1000.0 * (mu / WATER - 1.0) - low) / (high - low) - 1.0
    assert expected[LV - 1] > expected[RV - 1] + 0.1 > expected[MYOCARDIUM - 1] + 0.2
    occupancy = learner.model.labels(learner.labelled_latents.table).numpy()
    shown = set()
    for number, heart in enumerate(learner.data.labelled.labels > 0):
        fitted = np.argwhere(occupancy[number].sum(axis=-1) > 0.5)
        regions = occupancy[number][tuple(fitted.T)].argmax(axis=-1)
        voxels = np.argwhere(heart)
        distances, nearest = spatial.cKDTree(fitted).query(voxels, k=12)  # voxels are cubes
        candidates = np.where(distances < distances[:, :1] + 1e-6, regions[nearest], regions[nearest[:, :1]])
        alone = (candidates == candidates[:, :1]).all(axis=1)  # of several that are as near any may be taken
        assert alone.mean() > 0.8
        assert (distances[:, 0] > 0).any()
        rendered = site._own[number].numpy()
        np.testing.assert_allclose(rendered[tuple(voxels[alone].T)], expected[candidates[alone, 0]], atol=1e-5)
        body = learner.data.labelled.images[number][~heart]  # lung or soft tissue, without contrast agent
        assert body.max() < expected[MYOCARDIUM - 1]
        assert rendered[~heart].max() < expected[MYOCARDIUM - 1]
        shown |= set(candidates[alone, 0])
    assert len(shown) > 4
    (semantics, *_) = site.training_slices()
    masks, scans = semantics[..., 1:8].numpy(), semantics[..., 0].numpy()
    assert masks.sum(axis=-1).max() == 1.0
    np.testing.assert_allclose(
        scans[masks.any(axis=-1)], expected[masks[masks.any(axis=-1)].argmax(axis=-1)], atol=1e-5
    )


def test_random_hearts_of_regions_are_as_large_as_an_annotated_one(site_by_region):
    labels = region_volumes(3, 0).labels
    (heart,) = site_by_region.random_hearts()
    assert min(abs(np.count_nonzero(heart.label) / label.sum() - 1) for label in labels) < 0.05


def test_shapes_of_regions_are_learnt_and_blended():
    learner = region_learner()
    batch = tf.constant([0, 2])
    (loss,) = ShapePretraining(learner).losses(batch).values()
    z = learner.labelled_latents.lookup(batch)
    truth = learner.data.labelled.regions[[0, 2]][..., None] == np.arange(1, 8)
    expected = iou_loss(learner.model.labels(z), tf.constant(truth, tf.float32))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    label = learner.data.labelled.regions[0]
    blank = np.zeros(label.shape, np.float32)
    volume = SyntheticVolume(blank, label, blank + 0.5, np.zeros(0, np.float32))
    blended = blend_volume(volume, alpha_blend).image
    np.testing.assert_allclose(blended, blend_volume(volume._replace(label=1 * (label > 0)), alpha_blend).image)
    assert blended[ndimage.binary_erosion(label > 0, iterations=4)].min() > 0.49
