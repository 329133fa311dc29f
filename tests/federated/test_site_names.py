"""Which names sites may have: each is the name of a folder on every machine, and of a member of a FLARE project."""

import pytest
from nvflare.apis.utils.format_check import name_check

from fedsim_tf.config import FederatedConfig
from fedsim_tf.errors import InputError


@pytest.mark.parametrize("name", ["ct20", "Leeds-General_2", "_x", "x" * 64])
def test_names_that_are_allowed_are_names_of_flares_clients(name):
    assert FederatedConfig(sites=(name,)).sites == (name,)
    invalid, reason = name_check(name, "client")
    assert not invalid, reason


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "found no name; expected the names of one or more sites"),
        (("leeds hospital",), "found 'leeds hospital'; expected 1 to 64 of the characters A-Z, a-z, 0-9, _ and -"),
        (("münchen",), "found 'münchen'"),
        (("ct20", "o'neil"), 'found "o\'neil"'),
        (("../x",), "found '../x'"),
        (("..",), "found '..'"),
        (("a.b",), "found 'a.b'"),
        (("",), "found ''"),
        (("-x",), "found '-x'; expected .*, and no - at its beginning"),
        (("leeds\n",), r"found 'leeds\\n'"),
        (("x" * 65,), "found 'xxxxxxxxxxxxxxxxxxxx'... of 65 characters; expected 1 to 64"),
        (("server",), "found 'server', which is reserved; expected another name for this site"),
        (("NUL",), "found 'NUL', which is reserved"),
        (("ct20", "ct20"), "found 'ct20' twice; expected names that differ in more than upper and lower case"),
        (("ct20", "leeds", "CT20"), "found both 'ct20' and 'CT20'; expected names that differ in more than"),
    ],
)
def test_names_that_cannot_be_different_folders_everywhere_are_refused(names, message):
    with pytest.raises(InputError, match=f"^federated.sites: {message}"):
        FederatedConfig(sites=names)
