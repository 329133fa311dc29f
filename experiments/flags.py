"""Command-line flags made from the fields of the configuration, and how commands start and fail."""

from __future__ import annotations

import dataclasses
import errno
import logging as standard_logging
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging

from fedsim_tf.arms import ARMS
from fedsim_tf.config import PRESETS, SECTIONS, Config, make_config, merge
from fedsim_tf.errors import InputError, RunStopped

FLAGS = flags.FLAGS
_RENAMED = {"data.root": "data_root"}  # every other field is called --<section>_<field>
_SKIPPED = ("preset",)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def define_common() -> None:
    """Flags of every command that makes a run: those of its configuration, and about its folder."""
    define_config()
    flags.DEFINE_string("run_dir", None, "Folder of the run; the same command again resumes it. Default: below runs/.")
    flags.DEFINE_bool("dry_run", False, "Only say what would run, on what, and about how long.")


def define_config() -> None:
    """The preset, one flag for each field of the configuration, and --cache_dir."""
    flags.DEFINE_enum(
        "preset",
        None,
        sorted(PRESETS),
        "Sizes and lengths. Default: paper on real data, demo on the phantom cohort.",
    )
    define_cache_dir()
    for path, field in _fields():
        _define(_flag_name(path), field)


def define_cache_dir() -> None:
    """--cache_dir; part of the configuration's flags."""
    flags.DEFINE_string(
        "cache_dir", str(pathlib.Path.home() / ".cache" / "fedsim_tf"), "Where phantoms and prepared volumes are kept."
    )


def define_method() -> None:
    """--method, for commands that compare arms."""
    flags.DEFINE_enum("method", None, list(ARMS), "One arm alone, instead of --segmentation_arms.")


def define_only_fold() -> None:
    """--only_fold, for commands whose folds may run at different times or places."""
    flags.DEFINE_integer(
        "only_fold", None, "Run this fold alone, from 0; the same command without it then finishes the run."
    )


def method() -> dict[str, Any]:
    """What --method says of the configuration.

    Raises:
      InputError: --segmentation_arms is given too.
    """
    if FLAGS.method is None:
        return {}
    if FLAGS["segmentation_arms"].present:
        raise InputError("--method", found="--segmentation_arms beside it", expected="one of the two")
    return {"segmentation": {"arms": (FLAGS.method,)}}


def config_from_flags(*, usual_preset: str | None = None, **defaults: Any) -> Config:
    """The preset's configuration with what the command and then the flags override.

    `usual_preset`: without --preset; None: "paper" on real data, "demo" on phantoms.
    """
    preset = FLAGS.preset or usual_preset or ("paper" if FLAGS.data_root else "demo")
    values: dict[str, Any] = {}
    for path, _ in _fields():
        flag = FLAGS[_flag_name(path)]
        if flag.present:
            values = merge(values, _nested(path, tuple(flag.value) if isinstance(flag.value, list) else flag.value))
    return make_config(preset, **merge(defaults, values))


def given() -> dict[str, str]:
    """The flags of the configuration, and --cache_dir, that the command line has, as text: for other commands."""
    names = [_flag_name(path) for path, _ in _fields()] + ["preset", "cache_dir"]
    return {name: _text(FLAGS[name].value) for name in names if FLAGS[name].present}


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def plan_and_run(
    job: Callable[..., Any],
    config: Config,
    *,
    name: Sequence[str | None],
    sites: Sequence[str],
    federated: bool = False,
    elsewhere: bool = False,
) -> None:
    """Says what a job will do, then does it unless --dry_run is given.

    Args:
      job: takes the configuration, the run's folder, `cache_dir` and `only_fold`.
      config: what to run.
      name: parts of the run folder's default name, before the preset's.
      sites, federated, elsewhere: see `runs.estimate.describe`.
    """
    from fedsim_tf.records.fold_scores import SCORES
    from fedsim_tf.runs.estimate import describe
    from fedsim_tf.runs.folds import fold_numbers
    from fedsim_tf.runs.inputs import check_start
    from fedsim_tf.training.run import fold_path

    run_dir = FLAGS.run_dir or f"runs/{'-'.join(filter(None, (*name, config.preset)))}"
    fold_numbers(config, FLAGS.only_fold)
    cache_dir = pathlib.Path(FLAGS.cache_dir)
    if FLAGS.dry_run and not elsewhere:  # a run itself looks at all of this
        check_start(config, sites, cache_dir=cache_dir, federated=federated)
    about: dict[str, Any] = {"sites": sites, "federated": federated, "elsewhere": elsewhere}
    print(describe(config, run_dir=run_dir, only_fold=FLAGS.only_fold, **about))
    if FLAGS.dry_run:
        return
    job(config, run_dir, cache_dir=cache_dir, only_fold=FLAGS.only_fold)
    if FLAGS.only_fold is not None and not elsewhere:
        scores = fold_path(pathlib.Path(run_dir), FLAGS.only_fold) / SCORES
        print(f"Scores of this fold: {scores}; the same command without --only_fold finishes the run")


def whole_numbers(flag: str, values: list[str]) -> tuple[int, ...]:
    """A list flag's values as whole numbers, or an `InputError` that names the flag."""
    try:
        return tuple(int(value) for value in values)
    except ValueError:
        raise InputError(flag, found=",".join(values), expected="whole numbers") from None


def main(command: Callable[[], None]) -> None:
    """Runs a command: bad input and stopped training end in one line, and exit status 2 or 1."""
    app.run(lambda argv: _guarded(command, argv), flags_parser=_parse)


def _guarded(command: Callable[[], None], argv: list[str]) -> None:
    logging.set_verbosity(logging.INFO)
    standard_logging.getLogger().setLevel(standard_logging.WARNING)  # what libraries greet with
    logging.get_absl_logger().setLevel(standard_logging.INFO)
    logging.get_absl_handler().setFormatter(_Plain())
    try:
        if len(argv) > 1:
            raise InputError("command line", found=repr(argv[1]), expected="flags that start with --")
        command()
    except InputError as error:
        _stop(str(error), status=2)
    except (FloatingPointError, RunStopped) as error:
        _stop(str(error), status=1)
    except OSError as error:
        if error.errno in _DISK_FULL:
            _stop(f"{error}; the same command again resumes", status=1)
        if error.filename is None:
            raise
        _stop(f"{error.filename}: {error.strerror}", status=2)
    except KeyboardInterrupt:
        _stop("stopped; the same command again resumes", status=130)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _stop(f"{error} (--help lists all flags)", status=2)
        raise
    except SystemExit:  # --help, which absl ends as if it had failed
        sys.exit(0)


def _stop(message: str, *, status: int) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)


class _Plain(logging.PythonFormatter):
    """Log lines as "09:15:02 message"."""

    def format(self, record: Any) -> str:
        return f"{self.formatTime(record, '%H:%M:%S')} {record.getMessage()}"


def _fields() -> list[tuple[str, dataclasses.Field]]:
    """Every field of the configuration with its path, such as "gan.steps"."""
    found = []
    for field in dataclasses.fields(Config):
        if field.name in SECTIONS:
            nested = dataclasses.fields(field.default_factory)  # type: ignore[arg-type]
            found += [(f"{field.name}.{inner.name}", inner) for inner in nested]
        elif field.name not in _SKIPPED:
            found.append((field.name, field))
    return found


def _flag_name(path: str) -> str:
    return _RENAMED.get(path, path.replace(".", "_"))


def _nested(path: str, value: Any) -> dict[str, Any]:
    section, _, name = path.rpartition(".")
    return {section: {name: value}} if section else {name: value}


def _define(name: str, field: dataclasses.Field) -> None:
    """One flag; its default shown is the paper preset's."""
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
