"""What is inside the source distributions and wheels of both packages, and what libraries are compiled from.

Nothing is compiled here: libraries are left empty. `make check-wheels` compiles them, installs them in an environment
of their own and runs what is installed.
"""

import email
import importlib.metadata
import pathlib
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import NamedTuple

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).resolve().parents[1]
NATIVE_ENDINGS = (".cc", ".cu", ".h", ".inc")
# Both archives of the project in the current folder, with an empty file for each library.
MAKE = """
import pathlib, sys
import setuptools
from distutils.core import run_setup
out = sys.argv[1]
distribution = run_setup("setup.py", ["-q", "sdist", "-d", out, "bdist_wheel", "-d", out], stop_after="commandline")
def leave_empty(self, extension):
    path = pathlib.Path(self.get_ext_fullpath(extension.name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
distribution.cmdclass["build_ext"].build_extension = leave_empty
distribution.run_commands()
"""


class Project(NamedTuple):
    """One of the two projects: its folder, what it installs, its library, and the sources of that."""

    folder: pathlib.Path
    packages: tuple[str, ...]
    library: str
    native: str


INSTALLED = importlib.metadata.version("tensorflow")
SERIES = "tf" + ".".join(INSTALLED.split(".")[:2])  # what the libraries' names say
PROJECTS = {
    "fedsim_tf": Project(
        ROOT, ("fedsim_tf", "experiments"), f"fedsim_tf/shape/_voxels.{SERIES}.so", "fedsim_tf/shape/native"
    ),
    "pyronn_layers": Project(
        ROOT / "third_party" / "pyronn_layers", ("pyronn_layers",), f"pyronn_layers/_cone_beam.{SERIES}.so", "src"
    ),
}
OUTSIDE = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
FURTHER = ("CHANGELOG.md", "CITATION.cff", "requirements.lock", "requirements-new.lock")  # of the main project


class Archives(NamedTuple):
    """The files of both archives without the folder that an sdist has above them, and the wheel's metadata."""

    sdist: set[str]
    wheel: set[str]
    texts: dict[str, str]

    def metadata(self):
        (text,) = (text for name, text in self.texts.items() if name.endswith("/METADATA"))
        return email.message_from_string(text)


@pytest.fixture(scope="module", params=list(PROJECTS))
def project(request):
    return PROJECTS[request.param]


@pytest.fixture(scope="module")
def archives(project, tmp_path_factory):
    """Make both archives of a copy of the project, without what earlier builds have left in it."""
    copy, out = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("dist")
    left = shutil.ignore_patterns("__pycache__", "*.so")
    for name in {*project.packages, project.native.partition("/")[0]}:
        shutil.copytree(project.folder / name, copy / name, ignore=left)
    for name in (*OUTSIDE, *(FURTHER if project.folder == ROOT else ())):
        shutil.copy(project.folder / name, copy / name)
    subprocess.run([sys.executable, "-c", MAKE, str(out)], cwd=copy, check=True, capture_output=True, timeout=300)
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    with tarfile.open(sdist) as tar:
        sources = {member.name.partition("/")[2] for member in tar if member.isfile()}
    with zipfile.ZipFile(wheel) as packed:
        texts = {name: packed.read(name).decode() for name in packed.namelist() if ".dist-info/" in name}
        return Archives(sources, set(packed.namelist()), texts)


def installed_files(project):
    """Return every file of the packages that is neither a native source nor made by a build."""
    files = [path for name in project.packages for path in (project.folder / name).rglob("*") if path.is_file()]
    names = {str(path.relative_to(project.folder)) for path in files if path.suffix not in (".so", ".pyc")}
    return {name for name in names - native_files(project) if not name.endswith(".clang-format")}


def native_files(project):
    paths = (project.folder / project.native).rglob("*")
    return {str(path.relative_to(project.folder)) for path in paths if path.suffix in NATIVE_ENDINGS}


def test_the_wheel_holds_the_packages_with_their_data_and_library_and_nothing_else(project, archives):
    inside = {name for name in archives.wheel if ".dist-info/" not in name}
    assert inside == {*installed_files(project), project.library}
    assert any(name.endswith("/LICENSE") for name in archives.wheel - inside)


def test_data_that_runs_read_is_among_it():
    """What is read by name, so that the comparison with the folder cannot pass for want of both."""
    data = {name for name in installed_files(PROJECTS["fedsim_tf"]) if not name.endswith(".py")}
    assert data == {
        "fedsim_tf/py.typed",
        "fedsim_tf/data/chd68_division.csv",
        "fedsim_tf/evaluation/templates/fold.html.j2",
        "fedsim_tf/evaluation/templates/fold_sections.html.j2",
        "fedsim_tf/evaluation/templates/report.html.j2",
        "fedsim_tf/evaluation/templates/schedule.html.j2",
        "fedsim_tf/evaluation/templates/style.html.j2",
        "fedsim_tf/evaluation/templates/volumes.html.j2",
        "fedsim_tf/shape/phantom_hearts.npz",
    }


def test_the_source_distribution_holds_what_a_build_reads(project, archives):
    assert native_files(project)
    assert {*installed_files(project), *native_files(project), *OUTSIDE} <= archives.sdist
    assert not any(name.endswith(".so") for name in archives.sdist)


def test_the_wheel_is_for_every_python_on_this_kind_of_machine(archives):
    (text,) = (text for name, text in archives.texts.items() if name.endswith("/WHEEL"))
    assert re.search(r"^Tag: py3-none-linux_\w+$", text, re.MULTILINE)
    assert "Root-Is-Purelib: false" in text


def minor_versions(specifiers):
    return [f"3.{minor}" for minor in range(6, 20) if f"3.{minor}.9" in SpecifierSet(specifiers)]


def test_versions_of_python_agree(archives):
    """Those that an installer admits, that the classifiers name, and the oldest, which ruff and mypy check for."""
    metadata = archives.metadata()
    admitted = minor_versions(metadata["Requires-Python"])
    classifiers = "\n".join(metadata.get_all("Classifier"))
    assert re.findall(r"^Programming Language :: Python :: (3\.\d+)$", classifiers, re.MULTILINE) == admitted
    settings = (ROOT / "pyproject.toml").read_text()
    assert f'python_version = "{admitted[0]}"' in settings
    assert f'target-version = "py{admitted[0].replace(".", "")}"' in settings


VERSIONS = ("2.14.1", "2.15.1", "2.16.1", "2.21.0", "2.22.0")


def test_both_run_with_the_tensorflow_that_they_were_built_against(archives):
    needed = map(Requirement, archives.metadata().get_all("Requires-Dist"))
    (run_with,) = (requirement for requirement in needed if requirement.name == "tensorflow")
    assert [version for version in VERSIONS if version in run_with.specifier] == [INSTALLED]


@pytest.mark.parametrize(
    ("python", "tensorflow"), [("3.10", "2.15.1"), ("3.11", "2.15.1"), ("3.12", "2.21.0"), ("3.13", "2.21.0")]
)
def test_builds_in_an_environment_of_their_own_take_a_tensorflow_for_the_python(project, python, tensorflow):
    text = (project.folder / "pyproject.toml").read_text()
    needed = list(map(Requirement, re.findall(r'"(tensorflow[<>=!].*?)"', text)))
    (chosen,) = (one.specifier for one in needed if one.marker.evaluate({"python_version": python}))
    assert [version for version in VERSIONS if version in chosen] == [tensorflow]


def test_a_build_without_tensorflow_says_what_it_needs(project, monkeypatch):
    def find_nothing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", find_nothing)
    with pytest.raises(SystemExit, match="is compiled against TensorFlow: pip install tensorflow"):
        runpy.run_path(str(project.folder / "setup.py"))


def test_only_tensorflow_2_15_takes_tensorflow_addons(archives):
    metadata = archives.metadata()
    if metadata["Name"] == "fedsim-tf":
        names = {Requirement(text).name for text in metadata.get_all("Requires-Dist")}
        expected = {"tensorflow-addons"} if INSTALLED.startswith("2.15.") else {"tf_keras"}
        assert names & {"tensorflow-addons", "tf_keras"} == expected


def test_fedsim_is_the_only_command_that_is_installed(project, archives):
    text = "".join(text for name, text in archives.texts.items() if name.endswith("/entry_points.txt"))
    expected = "[console_scripts]\nfedsim = experiments.fedsim:start_command" if project.folder == ROOT else ""
    assert text.strip() == expected


def test_an_image_is_built_from_all_that_a_build_reads():
    """`.dockerignore` leaves out everything but what it names."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    kept = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {"third_party", *PROJECTS["fedsim_tf"].packages}
    assert kept == {*OUTSIDE, *FURTHER, *packages}


def test_libraries_are_compiled_again_where_a_source_has_changed_and_not_where_python_has_run():
    """A folder's time changes with what is put into it, and importing a package puts `__pycache__` there."""
    command = ["make", "--no-print-directory", "--eval=sources: ; @echo $(NATIVE)", "sources"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert all((ROOT / name).is_file() for name in found)
    folders = ("third_party/pyronn_layers/src", "fedsim_tf/shape/native")
    wanted = {file.relative_to(ROOT).as_posix() for one in folders for file in (ROOT / one).rglob("*")}
    assert {name for name in wanted if name.endswith(NATIVE_ENDINGS)} <= set(found)
