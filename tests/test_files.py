import pytest

from fedsim_tf.files import read_json, replaced, write_json


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "deep" / "a.json"
    write_json(path, {"kept": 1})
    with pytest.raises(RuntimeError), replaced(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("killed")
    assert read_json(path) == {"kept": 1}
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]
