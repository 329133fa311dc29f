"""The worked examples of CONTRIBUTING.md work as they are written: all of them, one after the other, in a copy."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

ROOT = pathlib.Path(__file__).resolve().parents[1]
BLOCK = re.compile(r"^( *)```diff\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


def changes() -> list[tuple[str, list[tuple[str, str]]]]:
    """Return each changed file with its hunks, as text before and after; a new file has one hunk and no text before."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    found = []
    for _, block in BLOCK.findall(text):
        head, *hunks = re.split(r"^@@\n", textwrap.dedent(block), flags=re.MULTILINE)
        found.append((re.search(r"^\+\+\+ b/(.*)$", head, re.MULTILINE)[1], [sides(hunk) for hunk in hunks]))
    return found


def sides(hunk: str) -> tuple[str, str]:
    """Return the lines of a hunk before and after the change."""
    lines = [line or " " for line in hunk.splitlines()]
    assert {line[0] for line in lines} <= set(" +-")
    return tuple("".join(f"{line[1:]}\n" for line in lines if line[0] != other) for other in "+-")


def apply(root: pathlib.Path, name: str, hunks: list[tuple[str, str]]) -> None:
    path = root / name
    text = "\n" + (path.read_text() if path.exists() else "")
    for before, after in hunks:
        assert text.count(f"\n{before}") == 1, f"{name} has these lines no longer, or more than once:\n{before}"
        text = text.replace(f"\n{before}", f"\n{after}")
    path.write_text(text[1:])


def test_the_examples_apply_and_their_tests_pass(tmp_path):
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("fedsim_tf", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name, hunks in changes():
        apply(tmp_path, name, hunks)
    made = [name for name, ((before, _), *_) in changes() if not before and name.startswith("tests/")]
    assert len(made) == 3
    # This process may be one whose coverage is measured, and the new one none of its workers.
    ours = ("PYTEST_XDIST_", "SLIPCOVER_")
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", *made],
        cwd=tmp_path,
        env={**outside, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "3 passed" in found.stdout
