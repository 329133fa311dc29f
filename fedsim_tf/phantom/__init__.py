"""The embedded cohort: phantom hearts in phantom chests, scanned at three phantom sites."""

from fedsim_tf.phantom.cohort import SITES, VERSION, ensure_site, model_hearts, n_dealt, write_site
from fedsim_tf.phantom.subjects import SiteSpec, make_subject

__all__ = ["SITES", "VERSION", "SiteSpec", "ensure_site", "make_subject", "model_hearts", "n_dealt", "write_site"]
