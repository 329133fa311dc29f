import pytest

from fedsim_tf.config import make_config
from fedsim_tf.crop_size import AUTO, parse_crop_size
from fedsim_tf.errors import InputError


@pytest.mark.parametrize(("text", "found"), [("0", 0.0), ("auto", AUTO), ("180", 180.0), ("192.5", 192.5)])
def test_what_a_user_may_say(text, found):
    assert parse_crop_size(text) == found
    assert make_config("demo", data={"crop_mm": text}).data.crops == (found != 0)


@pytest.mark.parametrize("text", ["", "big", "-200", "30", "5000", "nan", "inf", "200 mm"])
def test_other_words_are_refused(text):
    with pytest.raises(InputError, match=r"crop_mm.* must be 0 .*auto.* 60 to 1000 mm"):
        make_config("demo", data={"crop_mm": text})


def test_a_crop_needs_the_true_spacing():
    with pytest.raises(InputError, match=r"crop_mm.* true spacing"):
        make_config("demo", data={"crop_mm": AUTO, "field_of_view_mm": 200.0})
