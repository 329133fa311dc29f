"""What a dry run asks about sites and shape models: it must not wait for TensorFlow."""

import subprocess
import sys

import pytest

from fedsim_tf.phantom.hearts import ADULTS, draw_hearts
from fedsim_tf.phantom.sites import SITES, n_dealt


@pytest.mark.parametrize(
    "module", ["fedsim_tf.phantom.sites", "fedsim_tf.shape.ssm", "fedsim_tf.shape.surfaces", "fedsim_tf.shape.grid"]
)
def test_tensorflow_is_not_imported(module):
    code = f"import sys, {module}; raise SystemExit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_of_hearts_is_counted_by_site(tmp_path):
    draw_hearts(ADULTS, 23, seed=5).save(tmp_path / "hearts.npz")
    assert [n_dealt(tmp_path / "hearts.npz", site) for site in SITES] == [20, 3, 0]
