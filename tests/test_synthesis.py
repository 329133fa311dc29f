import numpy as np
import pytest
import tensorflow as tf

from fedsim_tf.shape.parameters import shape_frame_mm
from fedsim_tf.synthesis import GenerativeModel
from tests.training.toy_site import toy_config, toy_shape_model


def test_shapes_see_fields_of_view_in_their_proportions_and_one_size():
    frame = shape_frame_mm((150.0, 180.0, 270.0))
    np.testing.assert_allclose(np.array(frame) / frame[0], [1.0, 1.2, 1.8])
    assert np.prod(frame) == pytest.approx(256.0**3)


def test_label_and_material_of_a_latent_fit_in_any_field_of_view():
    """Both fill the cube alike wherever they are rendered: what one site has learnt is right at another."""
    z = tf.random.stateless_normal((2, toy_config().model.latent), (1, 2))
    small, large = (GenerativeModel(toy_config(), toy_shape_model(), (mm, mm, 0.8 * mm)) for mm in (150.0, 300.0))
    for there, here in zip(large.shared_variables, small.shared_variables, strict=True):
        noise = 0.1 * tf.random.stateless_normal(here.shape, (3, 4))
        here.assign_add(noise)
        there.assign(here)
    hearts = small.labels(z).numpy()
    assert 0.01 < hearts.mean() < 0.5
    np.testing.assert_allclose(large.labels(z), hearts, atol=1e-4)
    thick, thin = large.coarse_ct(z).numpy(), small.coarse_ct(z).numpy()
    assert np.corrcoef(thick.ravel(), thin.ravel())[0, 1] > 0.999
