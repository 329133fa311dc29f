"""Toy volumes whose hearts have three regions, told apart by their brightness."""

import dataclasses

import numpy as np

from fedsim_tf.regions import LV, MYOCARDIUM, PULMONARY_ARTERY
from tests.training.toy_site import toy_site

BRIGHTNESS = {LV: 0.1, MYOCARDIUM: 0.5, PULMONARY_ARTERY: 0.9}  # beside the heart's own


def with_regions(volumes):
    """Cut each heart into thirds from left to right; the brightness says which third it is."""
    ids = np.zeros(volumes.labels.shape, np.uint8)
    for number, heart in enumerate(volumes.labels > 0):
        low, high = np.quantile(np.argwhere(heart)[:, 2], [1 / 3, 2 / 3])
        column = np.arange(heart.shape[2])[None, None]
        thirds = np.where(column < low, LV, np.where(column < high, MYOCARDIUM, PULMONARY_ARTERY))
        ids[number] = np.where(heart, thirds, 0)
    images = volumes.images.copy()
    for region, value in BRIGHTNESS.items():
        images[ids == region] = value - 0.1
    return dataclasses.replace(volumes, images=images, regions=ids)


def toy_site_by_region(name="toy", seed=0, edge=32):
    """Return the toy site with regions in all annotated parts."""
    site = toy_site(name, seed, edge)
    parts = ("labelled", "fully_labelled", "validation", "test")
    return dataclasses.replace(site, **{part: with_regions(getattr(site, part)) for part in parts})
