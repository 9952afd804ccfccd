"""A command line whose mistakes are answered in sentences that say what is accepted."""

import argparse
import difflib
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter

from tlkeras.config import TYPE_NAMES


class PlainHelp(DefaultHelpFormatter):
    """Help without the types, as choices and ranges say more."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if not action.option_strings or "default" in text or action.default in (None, False, "", [], argparse.SUPPRESS):
            return text
        return f"{text} (default: %(default)s)"


class CliParser(ArgumentParser):
    """A jsonargparse parser that says what was wrong in one sentence and leaves with exit code 2.

    Attributes:
        accepted: what the value of an option must be, by the option's name; else its type says so.
        files: what each `--config` file holds, by its path, to name the place of a mistake.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, formatter_class=PlainHelp, allow_abbrev=False, print_config="--print_config", **kwargs)
        self.accepted: dict[str, str] = {}
        self.files: dict[str, dict[str, Any]] = {}

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print jsonargparse's message as a sentence.

        Raises:
            SystemExit: always, with code 2.
        """
        text = " ".join(str(message).split())
        if match := re.search(r'Parser key "(\w+)":.* (?:Got|Given) value: ?(.*)$', text):
            text = self._wrong_value(*match.groups())
        elif match := re.search(r"argument (--[\w-]+).*: expected", text):
            text = f"{match[1]} needs a value. See {self.prog} --help."
        elif match := re.search(r"nrecognized arguments: (.*)$", text):
            text = self._not_known(match[1])
        elif match := re.search(r"following arguments are required: (.*)$", text):
            shown = {action.dest: str(action.metavar or action.dest) for action in self._actions}
            missing = " and ".join(shown.get(name, name) for name in match[1].split(", "))
            text = f"Nothing was given for {missing}. See {self.prog} --help."
        print(f"{self.prog}: {text}", file=sys.stderr)
        raise SystemExit(2)

    def _parse_known_args(self, arg_strings: list[str], namespace: Any, *rest: Any) -> tuple[Any, list[str]]:
        """As argparse, which fills PATH... at the first word and then knows no more of them behind an option."""
        namespace, extras = super()._parse_known_args(arg_strings, namespace, *rest)
        for action in self._actions:
            if not action.option_strings and action.nargs == "*":
                words = [word for word in extras if not word.startswith("-")]
                setattr(namespace, action.dest, [*getattr(namespace, action.dest), *words])
                extras = [word for word in extras if word.startswith("-")]
        return namespace, extras

    def _wrong_value(self, name: str, value: str) -> str:
        place = f"--{name.replace('_', '-')}"
        for path, values in self.files.items():
            if str(values.get(name)) == value:
                place = f"{name} in {path}"
        return f"{place} was {value or 'empty'}; it must be {self._must(name)}."

    def _must(self, name: str) -> str:
        action = next(action for action in self._actions if action.dest == name)
        return self.accepted.get(name) or TYPE_NAMES.get(getattr(action, "_typehint", action.type), "text")

    def _not_known(self, words: str) -> str:
        shown = [action for action in self._actions if action.help != argparse.SUPPRESS]
        options = sorted(action.option_strings[-1] for action in shown if action.option_strings)
        option = words.partition(" ")[0].partition("=")[0]
        if not option.startswith("-"):
            return f"{words} was not expected. Known options: {' '.join(options)}."
        return not_known("option", words, option, options)


def not_known(what: str, given: str, word: str, known: Sequence[str]) -> str:
    """A sentence about a word that is not known, with the closest known one and all of them.

    Args:
        what: kind of word, such as "option".
        given: what the user wrote.
        word: the part of it that is compared with the known ones.
        known: all that would do.
    """
    close = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"There is no {what} {given}.{hint} Known {what}s: {' '.join(known)}."
