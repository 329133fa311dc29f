"""The console command: it is `python -m experiments.<command>` under another name, and messages say which was typed."""

import ast
import pathlib
import subprocess
import sys
import types

import pytest

import fedsim_tf
from tests.experiments.commands import ROOT, command_flags, run_command, run_fedsim
from tests.experiments.wrong_starts import TABLE

COMMANDS = sorted({start.command for start in TABLE})  # of which another test knows that they are all


def first_line(name):
    source = pathlib.Path(ROOT / "experiments" / f"{name}.py").read_text()
    return ast.literal_eval(next(node for node in ast.parse(source).body).value).splitlines()[0]


def test_help_lists_every_command_with_the_first_line_of_its_docstring():
    for flag in ("--help", "-h"):
        found = run_fedsim(flag)
        assert (found.status, found.stderr) == (0, "")
        listed = [line for line in found.stdout.splitlines() if line.partition(" ")[0] in COMMANDS]
        assert [line.split(maxsplit=1) for line in listed] == [[name, first_line(name)] for name in COMMANDS]


def test_help_imports_neither_tensorflow_nor_numpy():
    code = (
        "import sys; sys.argv = ['fedsim', '--help']; from experiments.fedsim import start_command; start_command(); "
        "print({'absl', 'tensorflow', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == "set()"


def test_version_is_the_librarys():
    assert run_fedsim("--version").stdout == f"{fedsim_tf.__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("single-site",), ("command",), ("--gan_steps=3",), ("",)])
def test_an_unknown_command_is_one_line_that_names_the_known_ones(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run_fedsim(*arguments)
    assert (found.status, found.stdout) == (2, "")
    typed = arguments[0] if arguments and arguments[0] else "not given"
    expected = f"error: command is {typed}; it must be one of {', '.join(COMMANDS)} (--help describes them)\n"
    assert found.stderr == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("single_site", "--dry_run", "--dataset=ct20", "--cache_dir=cache"),
        ("federated", "--gan_batch=0"),
        ("segment",),
        ("single_site", "stray"),
        ("single_site", "--no_such_flag"),
    ],
    ids=" ".join,
)
def test_it_does_what_the_module_does(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fedsim_tf.progress.shutil.disk_usage", lambda _: types.SimpleNamespace(free=10**12))
    assert run_fedsim(*arguments) == run_command(*arguments)


@pytest.mark.parametrize("command", ["federated", "sample"])
def test_help_of_a_command_names_commands_as_typed(command):
    module, console = run_command(command, "--help"), run_fedsim(command, "--help")
    assert module.status == console.status == 0
    assert f"python -m experiments.{command} --" in module.stdout
    assert f"\nfedsim {command} --" in console.stdout
    assert "experiments." not in console.stdout
    renamed = module.stdout.replace("python -m experiments.", "fedsim ").replace("experiments.", "fedsim ")
    assert " ".join(renamed.split()) == " ".join(console.stdout.split())  # lines break elsewhere


@pytest.mark.parametrize(
    ("text", "console"),
    [
        ("what python -m experiments.federated_member writes", "what fedsim federated_member writes"),
        ("experiments.federated_member was not run", "fedsim federated_member was not run"),
        ("/data/experiments.sample/x.nii: found no file", None),
        ("experiments.samples and experiments.command", None),
    ],
)
def test_messages_name_commands_as_typed(text, console, monkeypatch):
    with command_flags("single_site") as command:
        assert command.name_flags(text) == text
        monkeypatch.setitem(sys.modules, "experiments.fedsim", sys)  # as if it had started the command
        assert command.name_flags(text) == (console or text)
        monkeypatch.undo()


def test_library_messages_pass_through_the_commands_words(tmp_path, monkeypatch):
    """A message that the library writes about a command reaches the user as the user's own way of typing it."""
    monkeypatch.chdir(tmp_path)

    def stop(*_, **__):
        from fedsim_tf.errors import InputError

        raise InputError("x.json", found="nothing", expected="what python -m experiments.federated_member writes")

    monkeypatch.setattr("fedsim_tf.runs.start.open_run", stop)
    text = "error: x.json: found nothing; expected what {} writes\n"
    assert run_fedsim("single_site").stderr == text.format("fedsim federated_member")
    assert run_command("single_site").stderr == text.format("python -m experiments.federated_member")
