"""Command-line flags made from the fields of the configuration, and the way in which commands start and fail."""

from __future__ import annotations

import dataclasses
import errno
import logging as standard_logging
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from absl import app, flags, logging

from experiments.command_names import name_commands
from fedsim_tf.arms import ARMS
from fedsim_tf.command_fields import command_fields, flag_name, list_fields
from fedsim_tf.config import PRESETS, SECTIONS, Config, make_config, merge
from fedsim_tf.config_fields import expand_user
from fedsim_tf.errors import InputError, RunStopped
from fedsim_tf.threads import settle_threads

if TYPE_CHECKING:
    from fedsim_tf.runs.start import RunStart

FLAGS = flags.FLAGS
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TOP_LEVEL = "|".join(path for path, _ in list_fields() if "." not in path)
_FIELD = re.compile(rf"(?<![\w/.-])(?:(?:{'|'.join(SECTIONS)})\.\w+(?![\w/-])|(?:{_TOP_LEVEL})(?==))")
_NOT_GIVEN = re.compile(r"flag --(\w+)=None: Flag --\w+ must have a value other than None\.")  # absl's words
_PRESET = "Sizes and lengths. Must be given with real data; default on the phantom cohort: demo."
_PATHS: set[str] = set()  # flags that name a file or folder


def define_run(command: str) -> None:
    """Define the flags of a command that makes a run: its configuration, its folder and --dry_run."""
    define_config(command)
    define_path("run_dir", "Folder of the run; the same command again resumes it. Default: below runs/.")
    define_dry_run("Only say what would run, on what, and about how long.")


def define_config(command: str, *, preset: str = _PRESET) -> None:
    """Define --preset, --cache_dir and a flag for each field of the configuration that a command reads.

    Args:
      command: the command's name.
      preset: the text of --preset, where the command does not ask for it on real data.
    """
    flags.DEFINE_enum("preset", None, sorted(PRESETS), preset)
    define_cache_dir()
    for path, field in list_fields():
        if path in command_fields(command):
            _define_field(flag_name(path), field)


def define_path(name: str, text: str, *, required: bool = False) -> None:
    """Define a flag that names a file or folder. A leading `~` means the user's home folder."""
    flags.DEFINE_string(name, None, text, required=required)
    _PATHS.add(name)


def define_paths(name: str, text: str, *, required: bool = False) -> None:
    """Define a flag that names a file or folder and may be given several times."""
    flags.DEFINE_multi_string(name, None, text, required=required)
    _PATHS.add(name)


def define_dry_run(text: str) -> None:
    """Define --dry_run."""
    flags.DEFINE_bool("dry_run", False, text)


def define_cache_dir() -> None:
    """Define --cache_dir."""
    define_path("cache_dir", "Where phantoms and prepared volumes are kept. Default: ~/.cache/fedsim_tf.")


def define_method() -> None:
    """Define --method, for commands that compare arms."""
    flags.DEFINE_enum("method", None, list(ARMS), "Only one arm, instead of those of --segmentation_arms.")


def define_only_fold() -> None:
    """Define --only_fold, for commands whose folds may run at different times or places."""
    text = "Run only this fold, counted from 0; the same command without it then finishes the run."
    flags.DEFINE_integer("only_fold", None, text)


def cache_dir() -> pathlib.Path:
    """Return the folder of --cache_dir.

    Raises:
      InputError: the flag is not given and the user has no home folder.
    """
    if FLAGS.cache_dir:
        return pathlib.Path(FLAGS.cache_dir)
    try:
        return pathlib.Path.home() / ".cache" / "fedsim_tf"
    except RuntimeError:
        must = "be a folder to keep prepared volumes in, as this user has no home folder"
        raise InputError("cache_dir", value="not given", must=must) from None


def read_method() -> dict[str, Any]:
    """Return what --method says of the configuration.

    Raises:
      InputError: --segmentation_arms is given too.
    """
    if FLAGS.method is None:
        return {}
    if FLAGS["segmentation_arms"].present:
        raise InputError("method", value=FLAGS.method, must="be given without --segmentation_arms")
    return {"segmentation": {"arms": (FLAGS.method,)}}


def config_from_flags(*, real_data: bool = False, usual_preset: str | None = None, **defaults: Any) -> Config:
    """Return the configuration of the preset, with what the command and then the user override.

    Args:
      real_data: whether the command reads real data even without --data_root.
      usual_preset: the preset without --preset; None means "demo" on phantoms and asks for one on real data, where the
        paper's would take weeks unasked.
      **defaults: what the command overrides, see `make_config`.

    Raises:
      InputError: no --preset on real data, or a value outside its limits.
    """
    real_data = real_data or bool("data_root" in FLAGS and FLAGS.data_root)
    preset = FLAGS.preset or usual_preset
    if preset is None and real_data:
        raise InputError("preset", value="not given", must=f"be given with real data: {_describe_presets()}")
    preset = preset or "demo"
    values: dict[str, Any] = {}
    for path, _ in _defined_fields():
        flag = FLAGS[flag_name(path)]
        if flag.present:
            values = merge(values, _nest(path, tuple(flag.value) if isinstance(flag.value, list) else flag.value))
    return make_config(preset, **merge(defaults, values))


def _describe_presets() -> str:
    demo, small, paper = (f"{name} ({make_config(name).model.size}" for name in ("demo", "small", "paper"))
    sizes = f"{demo} voxels an edge), {small}) or {paper}; weeks on two cores, so for a GPU)"
    return f"{sizes}; with --dry_run each says how long it takes"


def flags_given() -> dict[str, str]:
    """Return the flags of the configuration, and --cache_dir, that the user typed, as text for other commands."""
    names = [flag_name(path) for path, _ in _defined_fields()] + ["preset", "cache_dir"]
    return {name: _as_text(FLAGS[name].value) for name in names if FLAGS[name].present}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def default_run_dir(name: Sequence[str | None], preset: str) -> str:
    """Return --run_dir or, without it, a folder below runs/ that is named after the parts of `name` and the preset."""
    return FLAGS.run_dir or f"runs/{'-'.join(filter(None, (*name, preset)))}"


def plan_and_run(
    run: Callable[[RunStart], Any],
    config: Config,
    *,
    name: Sequence[str | None],
    sites: Sequence[str],
    federated: bool = False,
) -> None:
    """Open what a run starts from, say what it will do, and do it unless --dry_run is given.

    Args:
      run: takes the opened start.
      config: what to run.
      name: parts of the run folder's default name, before the preset's.
      sites: the data sets of the run.
      federated: whether the sites learn together.
    """
    from fedsim_tf.records.fold_scores import SCORES
    from fedsim_tf.runs.estimate import describe_run
    from fedsim_tf.runs.start import open_run
    from fedsim_tf.training.run import fold_path

    settle_threads(config.model.size)
    run_dir, only_fold = default_run_dir(name, config.preset), FLAGS.only_fold
    start = open_run(config, run_dir, sites=sites, cache_dir=cache_dir(), federated=federated, only_fold=only_fold)
    print(describe_run(start), flush=True)
    if FLAGS.dry_run:
        return
    run(start)
    if only_fold is not None:
        scores = fold_path(start.run_dir, only_fold) / SCORES
        print(f"Scores of this fold: {scores}; the same command without --only_fold finishes the run")


def read_whole_numbers(name: str) -> tuple[int, ...]:
    """Return the values of a list flag as whole numbers, or raise an `InputError` that names the flag."""
    values: list[str] = FLAGS[name].value  # type: ignore[assignment]
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise InputError(name, value=",".join(values), must="be whole numbers, separated by commas") from None


def main(command: Callable[[], None]) -> None:
    """Run a command. Bad input and stopped training end in one line, with exit status 2 or 1."""
    _name_commands_in_help()
    app.run(lambda argv: _guard(command, argv), flags_parser=_parse)


def _guard(command: Callable[[], None], argv: list[str]) -> None:
    logging.set_verbosity(logging.INFO)
    standard_logging.getLogger().setLevel(standard_logging.WARNING)  # silences what libraries greet with
    logging.get_absl_logger().setLevel(standard_logging.INFO)
    logging.get_absl_handler().setFormatter(_PlainLines())
    try:
        if len(argv) > 1:
            raise InputError("command line", found=repr(argv[1]), expected="flags that start with --")
        _expand_paths()
        command()
    except InputError as error:
        stop(name_flags(str(error), error.subject), status=2)
    except (FloatingPointError, RunStopped) as error:
        stop(name_flags(str(error)), status=1)
    except OSError as error:
        if error.errno in _DISK_FULL:
            stop(f"{error}; the same command again resumes", status=1)
        if error.filename is None:
            raise
        stop(f"{error.filename}: {error.strerror}", status=2)
    except KeyboardInterrupt:
        stop("stopped; the same command again resumes", status=130)


def _expand_paths() -> None:
    for name in _PATHS:
        path = FLAGS[name].value if name in FLAGS else None
        if isinstance(path, list):
            FLAGS[name].value = [expand_user(one, name) for one in path]
        elif path:
            FLAGS[name].value = expand_user(path, name)


def _name_commands_in_help() -> None:
    started = sys.modules["__main__"]
    started.__doc__ = name_commands(started.__doc__ or "")
    for name in FLAGS:
        FLAGS[name].help = name_commands(FLAGS[name].help or "")


def name_flags(text: str, subject: str = "") -> str:
    """Return a message of the library in the words of the command line.

    Fields of the configuration such as `gan.steps` become flags such as `--gan_steps`, where the command has the flag.
    So does a subject that is the name of a flag. Commands are named as typed.
    """
    if subject in FLAGS and text.startswith(subject):
        text = f"--{text}"
    return name_commands(_FIELD.sub(_as_flag, text))


def _as_flag(match: re.Match[str]) -> str:
    name = flag_name(match.group())
    return f"--{name}" if name in FLAGS else match.group()


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(["--help" if argument == "-h" else argument for argument in argv])
    except flags.Error as error:
        text = _NOT_GIVEN.sub(r"--\1 must be given;", str(error)).rstrip(";")
        stop(f"{text} (--help lists all flags)", status=2)
        raise
    except SystemExit:  # --help, which absl ends as if it had failed
        sys.exit(0)


def stop(message: str, *, status: int) -> None:
    """Print a message as one line on standard error, and end with this exit status."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


class _PlainLines(logging.PythonFormatter):
    """Writes log lines as "09:15:02 message"."""

    def format(self, record: Any) -> str:
        return f"{self.formatTime(record, '%H:%M:%S')} {name_flags(record.getMessage())}"


def _defined_fields() -> list[tuple[str, dataclasses.Field]]:
    return [(path, field) for path, field in list_fields() if flag_name(path) in FLAGS]


def _nest(path: str, value: Any) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def _define_field(name: str, field: dataclasses.Field) -> None:
    """Define the flag of a field. The default that --help shows is the paper preset's."""
    default: Any = field.default
    text, choices = field.metadata["help"], field.metadata.get("choices")
    if isinstance(default, tuple):
        flags.DEFINE_list(name, list(default), text)
    elif isinstance(default, bool):
        flags.DEFINE_bool(name, default, text)
    elif isinstance(default, int):
        flags.DEFINE_integer(name, default, text)
    elif isinstance(default, float):
        flags.DEFINE_float(name, default, text)
    elif choices:
        flags.DEFINE_enum(name, default, list(choices), text)
    else:
        flags.DEFINE_string(name, default, text)
