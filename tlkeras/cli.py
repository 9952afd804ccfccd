"""From a dataclass of options to a command line and YAML files, and from a mistake to a sentence and an exit code."""

import _thread
import argparse
import errno
import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import yaml

from tlkeras.config import DIGITS_DEFAULTS, TYPE_NAMES, OTHER_BACKBONE, TrainConfig, range_text, expected_text
from tlkeras.errors import Terminated, UserError
from tlkeras.cli import CliParser, not_known

Config = TypeVar("Config")
METAVARS = {int: "N", float: "X", str: "TEXT", list[int]: "[N,...]"}
HELP = {"-h", "--help"}


def parse_config(config_class: type[Config], description: str | None, arguments: Sequence[str] | None = None) -> Config:
    """Read a config from the command line and, with `--config`, from YAML.

    Raises:
        SystemExit: code 0 after `--help` or `--print_config`, code 2 after one sentence for a mistake.
        UserError: when a config file cannot be used, or the dataclass's own `check` refuses a value.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser(config_class, description)
    data, backbone, paths = peek_args(arguments)
    for path in paths:
        values = parser.files[path] = read_config_file(path, [entry.name for entry in fields(config_class)])
        data, backbone = data or values.get("data"), backbone or values.get("backbone")
    digits = (data or "digits") == "digits" and issubclass(config_class, TrainConfig)
    if digits and not HELP & set(arguments):  # help shows the usual defaults
        other = backbone not in (None, DIGITS_DEFAULTS["backbone"])
        hub = {"weights": "imagenet"} if str(backbone).startswith("hub:") else {}  # which stands for its own
        parser.set_defaults(DIGITS_DEFAULTS | (OTHER_BACKBONE | hub if other else {}))
    parsed = parser.parse_args(arguments).as_dict()
    parsed.pop("config", None)
    config = config_class(**parsed)
    config.check()
    return config


def peek_args(arguments: Sequence[str]) -> tuple[str | None, str | None, list[str]]:
    """Data set, backbone and config files that a command line names; files the last first, as the last one wins."""
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scout.add_argument("--data", nargs="?")
    scout.add_argument("--backbone", nargs="?")
    scout.add_argument("--config", nargs="?", action="append", default=[])
    known = scout.parse_known_args(arguments)[0]
    return known.data, known.backbone, [path for path in reversed(known.config) if path]


def read_config_file(path: str, names: Sequence[str]) -> dict[str, Any]:
    """The options that a YAML file holds, by their names with underscores.

    Raises:
        UserError: there is no such file, it is not a YAML mapping, or it has an option that is not among `names`.
    """
    look = "Give a YAML file of options, such as a run's config.yaml or what --print_config prints"
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}. {look}.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"; line {mark.line + 1} is wrong" if mark else ""
        raise UserError(f"--config {path} is not YAML{line}. {look}.") from None
    if not isinstance(values, dict):
        raise UserError(f"--config {path} holds no options. {look}, with lines such as 'batch_size: 16'.")
    values = {str(name).replace("-", "_"): value for name, value in values.items()}
    for name in values:
        if name not in names:
            raise UserError(not_known("option", f"{name}, which {path} sets", name, sorted(names)))
    return values


def make_parser(config_class: type, description: str | None) -> CliParser:
    """A parser with one option for each field of a dataclass made with `tlkeras.config.option`.

    In its help the options of each dataclass that this one inherits stand under that one's docstring, and those that
    several others build on come last.
    """
    parser = CliParser(description=description, usage="%(prog)s [OPTION VALUE]...")
    parser.add_argument("--config", action="config", help="YAML file with options; the command line wins over it")
    show = next(action for action in parser._actions if "--print_config" in action.option_strings)
    show.help, show.metavar = "print all options as YAML, which --config reads, and stop", ""
    types, entries = get_type_hints(config_class), {entry.name: entry for entry in fields(config_class)}
    owners = reversed(config_class.__mro__[:-1])
    for owner in sorted(owners, key=lambda owner: sum(issubclass(other, owner) for other in config_class.__mro__)):
        title = (owner.__doc__ or "").partition("\n")[0]
        group = parser if owner is config_class else parser.add_argument_group(title.rstrip("."))
        for name in [name for name in vars(owner).get("__annotations__", {}) if name in entries]:
            add_option(parser, group, entries.pop(name), types[name])  # once, where a class has another default
    return parser


def add_option(parser: CliParser, group: Any, entry: Field, kind: Any) -> None:
    """Add one field of a dataclass to a parser, with its default and its range in the help.

    Args:
        parser: is told what the option accepts, for its sentences.
        group: of the parser, which shows the option in its help.
        entry: the field, made with `tlkeras.config.option`.
        kind: its type.
    """
    name, text = f"--{entry.name.replace('_', '-')}", entry.metadata["help"]
    if kind is bool:
        group.add_argument(name, action="store_true", help=text)
        return
    default = entry.default_factory() if callable(entry.default_factory) else entry.default
    bare = kind if kind in TYPE_NAMES else next((one for one in get_args(kind) if one in TYPE_NAMES), None)
    span = range_text(entry)
    parser.accepted[entry.name] = expected_text(kind, entry)
    notes = "; ".join(filter(None, [f"default: {default}" if default not in (None, "", []) else "", span]))
    text = f"{text[:-1]}; {notes})" if notes and text.endswith(")") else f"{text} ({notes})" if notes else text
    metavar = METAVARS[bare] if bare else f"{{{','.join(get_args(kind))}}}"
    action = group.add_argument(name, type=kind, default=default, help=text, metavar=metavar)
    action.option_strings[:] = [name]  # without the --hidden-units+ of jsonargparse, of which nobody should have to read


def run_main(main: Callable[[], Any]) -> NoReturn:
    """Run a script's main function; a user's mistake, Ctrl-C or a full disk ends in one sentence.

    Args:
        main: the function.

    Raises:
        SystemExit: always: code 0, 2 after a mistake, 130 after Ctrl-C, 143 after SIGTERM.
    """
    name = Path(sys.argv[0]).name
    logging.raiseExceptions = False  # a closed pipe is no reason for a traceback
    signal.signal(signal.SIGTERM, terminate)
    sys.unraisablehook = stop_again
    try:
        main()
    except UserError as error:
        fail(name, str(error), 2)
    except KeyboardInterrupt as stop:
        how, code = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        fail(name, f"stopped by {how}; {stop.args[0] if stop.args else 'nothing was written.'}", code)
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            place = f" at {error.filename}" if error.filename else ""
            then = " ".join(getattr(error, "__notes__", ["Run the command again."]))
            fail(name, f"The disk is full{place}. Free some space. {then}", 2)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
            fail(name, f"{error.filename} cannot be opened: {error.strerror}.", 2)
        raise
    raise SystemExit(0)


def terminate(*_: Any) -> NoReturn:
    """What SIGTERM does: the same as Ctrl-C, so that what is half written goes, and what can be gone on with stays.

    Raises:
        Terminated: always.
    """
    raise Terminated


def stop_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Let Ctrl-C or SIGTERM come once more where it came inside a destructor, in which Python drops exceptions."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(dropped.exc_value, Terminated) else signal.SIGINT
        threading.Timer(0.05, _thread.interrupt_main, (number,)).start()  # later, as it would be dropped here too
    else:
        sys.__unraisablehook__(dropped)


def fail(name: str, sentence: str, code: int) -> NoReturn:
    """Print a sentence on the standard error and leave.

    Args:
        name: of the script.
        sentence: what was wrong, and what to do.
        code: exit code.

    Raises:
        SystemExit: always.
    """
    print(f"{name}: {sentence}", file=sys.stderr)
    raise SystemExit(code) from None
