"""The map in WORKSPACE.md names every package and every module beside the packages."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_the_map_names_all_that_lies_in_the_package():
    rows = [line.split("|")[1] for line in (ROOT / "WORKSPACE.md").read_text("utf-8").splitlines() if "`" in line[:4]]
    named = {name.rstrip("/").rsplit("/")[-1] for row in rows for name in re.findall(r"`([^`]+)`", row)}
    package = ROOT / "fedsim_tf"
    modules = {path.name for path in package.glob("*.py") if path.name != "__init__.py"}
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert sorted((modules | packages) - named) == []
