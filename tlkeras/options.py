"""From a dataclass of options to a command line, and from a mistake to one sentence and exit code 2."""

import difflib
import errno
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_type_hints

from jsonargparse import ArgumentParser

from tlkeras.config import DIGITS_DEFAULTS
from tlkeras.errors import UserError

Config = TypeVar("Config")


class SentenceParser(ArgumentParser):
    """A jsonargparse parser whose errors are sentences that list what is known."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        known = sorted(action.option_strings[-1] for action in self._actions if action.option_strings)
        text = " ".join(str(message).split())
        wrong = [word for word in text.replace("=", " ").split() if word.startswith("--")]
        if "nrecognized arguments" in text or "not accepted" in text:
            close = difflib.get_close_matches(wrong[0] if wrong else "", known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            text = f"{text}.{hint} Known options: {' '.join(known)}."
        print(f"{self.prog}: {text}", file=sys.stderr)
        raise SystemExit(2)


def make_parser(config_class: type, description: str | None) -> SentenceParser:
    """A parser with one option for each field of a dataclass made with `tlkeras.config.option`."""
    parser = SentenceParser(description=description)
    parser.add_argument("--config", action="config", help="YAML file with options; the command line wins over it")
    types = get_type_hints(config_class)
    for entry in fields(config_class):
        name = f"--{entry.name.replace('_', '-')}"
        default = entry.default_factory() if callable(entry.default_factory) else entry.default
        if types[entry.name] is bool:
            parser.add_argument(name, action="store_true", help=entry.metadata["help"])
        else:
            parser.add_argument(name, type=types[entry.name], default=default, help=entry.metadata["help"])
    return parser


def parse_config(config_class: type[Config], description: str | None, arguments: Sequence[str] | None = None) -> Config:
    """Read a config from the command line and, with `--config`, from YAML.

    Raises:
        SystemExit: code 0 after `--help` or `--print_config`, code 2 after one sentence for a mistake.
        UserError: when the dataclass's own `check` refuses a value.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = make_parser(config_class, description)
    if wants_digits(arguments):
        parser.set_defaults(DIGITS_DEFAULTS)
    parsed = parser.parse_args(arguments).as_dict()
    parsed.pop("config", None)
    config = config_class(**parsed)
    config.check()
    return config


def wants_digits(arguments: Sequence[str]) -> bool:
    """Whether a command line stays with the default data set, whose defaults are its own; help shows the usual ones."""
    words = {word for argument in arguments for word in argument.split("=")}
    return "digits" in words or not words & {"--data", "--config", "--help", "-h"}


def program(main: Callable[[], Any]) -> NoReturn:
    """Run a script's main function; a user's mistake, Ctrl-C or a full disk ends in one sentence."""
    name = Path(sys.argv[0]).name
    try:
        main()
    except UserError as error:
        print(f"{name}: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"\n{name}: stopped by Ctrl-C; nothing was written.", file=sys.stderr)
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = f" at {error.filename}" if error.filename else ""
        print(f"{name}: the disk is full{place}; free some space and run the command again.", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)
