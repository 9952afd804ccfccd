"""From a dataclass of options to a command line and YAML files, and from a mistake to a sentence and an exit code."""

import _thread
import argparse
import errno
import logging
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args, get_type_hints

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from tlkeras import __version__
from tlkeras.config.fields import TYPE_NAMES, expected_text, flag_name, range_text
from tlkeras.config.files import read_config_file
from tlkeras.errors import Terminated, UserError, unknown_option
from tlkeras.progress import ERASE

METAVARS = {int: "N", float: "X", str: "TEXT", list[int]: "[N,...]"}
# What other programs call an option, where a command has one that it can mean.
ALIASES = {"--model": ["--backbone"], "--lr": ["--learning-rate"], "--output-dir": ["--run-dir"]}
RUN_OPTIONS = {"--run-dir", "--overwrite", "--resume"}  # where a run goes: the example takes them too
EXAMPLE = Path(__file__).parents[1] / "configs" / "digits.yaml"  # what a command without any option runs
Config = TypeVar("Config")


class PlainHelp(DefaultHelpFormatter):
    """Help without types and defaults, as the texts say more."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help or ""


class CliParser(ArgumentParser):
    """A jsonargparse parser that says what was wrong in one sentence and exits with code 2.

    Private names of argparse and jsonargparse are used here and nowhere else; `tests/scripts/test_options.py` fails
    where they change.

    Attributes:
        accepted: what the value of an option must be, by the option's name; else its type says so.
        files: the values of each `--config` file by its path, to name the source of a mistake.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(
            *args,
            formatter_class=PlainHelp,
            allow_abbrev=False,
            print_config="--print_config",
            version=__version__,
            **kwargs,
        )
        self.accepted: dict[str, str] = {}
        self.files: dict[str, dict[str, Any]] = {}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print jsonargparse's message as a sentence and exit."""
        text = " ".join(str(message).split())
        if match := re.search(r'Parser key "(\w+)":.* (?:Got|Given) value: ?(.*)$', text):
            text = self._wrong_value(*match.groups())
        elif match := re.search(r"argument (--[\w-]+).*: expected", text):
            text = f"{match[1]} needs a value. See {self.prog} --help."
        elif match := re.search(r"argument (--[\w-]+): not allowed with argument (--[\w-]+)", text):
            text = f"Both {match[2]} and {match[1]} were given; give one of them."
        elif match := re.search(r"nrecognized arguments: (.*)$", text):
            text = self._unknown(match[1])
        elif match := re.search(r"following arguments are required: (.*)$", text):
            shown = {action.dest: str(action.metavar or action.dest) for action in self._actions}
            missing = " and ".join(shown.get(name, name) for name in match[1].split(", "))
            text = f"Nothing was given for {missing}. See {self.prog} --help."
        fail(self.prog, text, 2)

    def _parse_known_args(self, arg_strings: list[str], namespace: Any, *rest: Any) -> tuple[Any, list[str]]:
        """Parse as argparse does, which fills PATH... at the first word and ignores more of them behind an option."""
        namespace, extras = super()._parse_known_args(arg_strings, namespace, *rest)
        for action in self._actions:
            if not action.option_strings and action.nargs == "*":
                words = [word for word in extras if not word.startswith("-")]
                setattr(namespace, action.dest, [*(getattr(namespace, action.dest) or []), *words])
                extras = [word for word in extras if word.startswith("-")]
        return namespace, extras

    def add_field(self, group: Any, entry: Field, hint: Any) -> None:
        """Add a field made with `tlkeras.config.fields.option`, with default and range in the help."""
        name, text = flag_name(entry.name), entry.metadata["help"]
        if hint is bool:
            group.add_argument(name, action="store_true", help=text)
            return
        default = entry.default_factory() if callable(entry.default_factory) else entry.default
        bare = hint if hint in TYPE_NAMES else next((item for item in get_args(hint) if item in TYPE_NAMES), None)
        self.accepted[entry.name] = expected_text(hint, entry)
        shown = f"default: {default}" if default not in (None, "", []) else ""
        notes = "; ".join(filter(None, [shown, range_text(entry)]))
        text = f"{text[:-1]}; {notes})" if notes and text.endswith(")") else f"{text} ({notes})" if notes else text
        metavar = METAVARS[bare] if bare else f"{{{','.join(get_args(hint))}}}"
        action = group.add_argument(name, type=hint, default=default, help=text, metavar=metavar)
        action.option_strings[:] = [name]  # without jsonargparse's --hidden-units+

    def _wrong_value(self, name: str, value: str) -> str:
        files = [path for path, values in self.files.items() if str(values.get(name)) == value]
        source = f"{name} in {files[-1]}" if files else flag_name(name)
        action = next(action for action in self._actions if action.dest == name)
        hint: Any = getattr(action, "_typehint", action.type)
        expected = self.accepted.get(name) or TYPE_NAMES.get(hint, "text")
        return f"{source} was {value or 'empty'}; it must be {expected}."

    def _unknown(self, words: str) -> str:
        option = words.partition(" ")[0].partition("=")[0]
        if not option.startswith("-"):
            hint = f" Did you mean --data {option}?" if any(action.dest == "data" for action in self._actions) else ""
            return f"{words} was not expected.{hint} See {self.prog} --help."
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS and action.option_strings]
        return unknown_option(option, [action.option_strings[-1] for action in shown])


def parse_config(config_class: type[Config], description: str | None, arguments: Sequence[str] | None = None) -> Config:
    """Read a config from the command line and, with `--config`, from YAML; with nothing to train on, `EXAMPLE`."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    names = {word.partition("=")[0].replace("_", "-") for word in arguments if word.startswith("-")}
    positional = arguments and not arguments[0].startswith("-")
    if names <= RUN_OPTIONS and not positional and EXAMPLE.is_file() and hasattr(config_class, "frozen_epochs"):
        print(f"No data were given: running the example, --config {EXAMPLE.parent.name}/{EXAMPLE.name}.")
        arguments = ["--config", str(EXAMPLE), *arguments]
    parser = make_parser(config_class, description)
    arguments = with_full_names(arguments, [flag_name(name) for name in get_type_hints(config_class)])
    scout = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    scout.add_argument("--config", nargs="?", action="append", default=[])
    given, rest = scout.parse_known_args(arguments)
    for path in filter(None, given.config):
        parser.files[path] = values = read_config_file(path, list(get_type_hints(config_class)))
        if is_repeated(path, values, rest):
            print(
                f"Note: {values.pop('run_dir')} stays; its options are used for a new run (--run-dir names its folder)."
            )
    # Files come first, as later words win over earlier ones and all other options are to win over the files.
    words = [f"--config={yaml.safe_dump(parser.files[path])}" if path else "--config" for path in given.config]
    parsed = parser.parse_args([*words, *rest]).as_dict()
    parsed.pop("config", None)
    config: Any = config_class(**parsed)
    config.check()
    return config


def with_full_names(words: Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the words of a command line with short names of options, and underscores in them, replaced."""
    phases, result = ["--frozen-epochs", "--finetune-epochs"], list[str]()
    queue = list(words)
    while queue:
        word, equals, value = queue.pop(0).partition("=")
        name = word.replace("_", "-") if word.startswith("--") else word
        name = next((full for full in ALIASES.get(name, ()) if name not in known and full in known), name)
        if name == "--epochs" and name not in known and [full for full in known if full.endswith("-epochs")] == phases:
            value = value if equals else queue.pop(0) if queue else ""
            counts = value.split(",") if "," in value else [value, value]
            if len(counts) != 2 or not all(count.strip().isdigit() for count in counts):
                raise UserError(
                    f"--epochs was {value or 'empty'}; give N for each phase, or N,M for phase 1 and phase 2."
                )
            result += [word for pair in zip(phases, counts, strict=True) for word in pair]
        else:
            result.append(f"{name if name in known else word}{equals}{value}")
    return result


def is_repeated(path: str, values: dict[str, Any], words: Sequence[str]) -> bool:
    """Return whether a file of options is that of a finished run, which is neither resumed nor replaced."""
    replacing = values.get("overwrite") or values.get("resume")
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    own = values.get("run_dir") and Path(values["run_dir"]).expanduser().resolve() == Path(path).resolve().parent
    return bool(own and not replacing and not given & {"--overwrite", "--resume", "--run-dir"})


def make_parser(config_class: Any, description: str | None) -> CliParser:
    """Return a parser with one option for each field of a dataclass made with `tlkeras.config.fields.option`.

    In its help the options of each dataclass that this one inherits are a group, and those that several others build
    on come last.
    """
    parser = CliParser(description=description, usage="%(prog)s [OPTION VALUE]...")
    parser.add_argument(
        "--config", action="config", metavar="FILE", help="YAML file with options; the command line wins over it"
    )
    show = next(action for action in parser._actions if "--print_config" in action.option_strings)
    show.help, show.metavar = "print all options as YAML, which --config reads, and stop", ""
    types, entries = get_type_hints(config_class), {entry.name: entry for entry in fields(config_class)}
    owners = reversed(config_class.__mro__[:-1])
    for owner in sorted(owners, key=lambda owner: sum(issubclass(other, owner) for other in config_class.__mro__)):
        title = (owner.__doc__ or "").partition("\n")[0]
        group = parser if owner is config_class else parser.add_argument_group(title.rstrip("."))
        for name in [name for name in vars(owner).get("__annotations__", {}) if name in entries]:
            parser.add_field(group, entries.pop(name), types[name])  # once, where a class has another default
    return parser


def output_folder(given: str) -> Path:
    """Return the folder that --output names, before anything is made that goes into it; refuse a file."""
    folder = Path(given).expanduser()
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not above.is_dir():
        raise UserError(f"--output was {given}, and {above} is a file. Give a folder.")
    return folder


def run_main(main: Callable[[], Any]) -> NoReturn:
    """Run a command; a mistake ends in one sentence and code 2, Ctrl-C in 130, SIGTERM in 143, a full disk in 2."""
    name = Path(sys.argv[0]).name
    logging.raiseExceptions = False  # a closed pipe is no reason for a traceback
    signal.signal(signal.SIGTERM, terminate)
    sys.unraisablehook = interrupt_again
    try:
        main()
    except UserError as error:
        fail(name, str(error), 2)
    except KeyboardInterrupt as stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # what stops a program that stops leaves a traceback
        how, code = ("SIGTERM", 143) if isinstance(stop, Terminated) else ("Ctrl-C", 130)
        fail(name, f"stopped by {how}; {stop.args[0] if stop.args else 'nothing was written.'}", code)
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            path = f" at {error.filename}" if error.filename else ""
            then = " ".join(getattr(error, "__notes__", ["Run the command again."]))
            fail(name, f"The disk is full{path}. Free some space. {then}", 2)
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) and error.filename:
            fail(name, f"{error.filename} cannot be opened: {error.strerror}.", 2)
        raise
    raise SystemExit(0)


def terminate(*_: Any) -> NoReturn:
    """Handle SIGTERM as Ctrl-C, so that unfinished files are removed and what can be resumed is kept."""
    raise Terminated


def interrupt_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Repeat Ctrl-C or SIGTERM where it came inside a destructor, in which Python drops exceptions."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(dropped.exc_value, Terminated) else signal.SIGINT
        threading.Timer(0.05, _thread.interrupt_main, (number,)).start()  # later, as it would be dropped here too
    else:
        sys.__unraisablehook__(dropped)


def fail(name: str, sentence: str, code: int) -> NoReturn:
    """Print a sentence on standard error, on a line of its own, and exit."""
    start = ERASE if sys.stderr.isatty() else ""  # over a bar, half an epoch, or the ^C of a terminal
    print(f"{start}{name}: {sentence}", file=sys.stderr)
    raise SystemExit(code) from None
