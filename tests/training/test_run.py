"""A run's folder and the configuration that it was begun with."""

import dataclasses
import json

import pytest

from fedsim_tf.errors import InputError
from fedsim_tf.training.run import RunFolder
from tests.training.toy_site import toy_config


def test_a_run_of_before_a_field_was_added_is_opened_with_its_default(tmp_path):
    config = toy_config()
    RunFolder(tmp_path / "run", config)
    file = tmp_path / "run" / "config.json"
    kept = json.loads(file.read_text())
    del kept["data"]["field_of_view_z_mm"]
    file.write_text(json.dumps(kept))
    assert RunFolder(tmp_path / "run", config).config == config
    changed = dataclasses.replace(config, data=dataclasses.replace(config.data, field_of_view_z_mm=100.0))
    file.write_text(json.dumps(kept))
    with pytest.raises(InputError, match=r"data\.field_of_view_z_mm=0\.0 \(now 100\.0\)"):
        RunFolder(tmp_path / "run", changed)
