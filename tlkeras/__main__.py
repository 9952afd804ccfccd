"""Run `tlkeras COMMAND …`: each module of `tlkeras.commands` is a command, by its `main`."""

import ast
import difflib
import importlib
import sys
from pathlib import Path

from tlkeras import __version__
from tlkeras.cli import run_main
from tlkeras.errors import UserError

FILES = {path.stem.replace("_", "-"): path for path in Path(__file__).with_name("commands").glob("[!_]*.py")}
FIRST = ("train", "evaluate", "predict")
NAMES = sorted(sorted(FILES), key=lambda name: (*FIRST, name).index(name))


def main() -> None:
    """List the commands, or run one."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name == "--version":
        print(f"tlkeras {__version__}")
        return
    if name in ("--help", "-h"):
        print("usage: tlkeras COMMAND [OPTION VALUE]...\n\ncommands:")
        for command in NAMES:
            text = ast.get_docstring(ast.parse(FILES[command].read_text(encoding="utf-8"))) or ""
            print(f"  {command:<15} {text.partition(':')[0].partition('.')[0]}")
        print("\nThe options of a command: tlkeras COMMAND --help")
        return
    sys.argv = [f"tlkeras {name}", *sys.argv[2:]]
    run_main(lambda: run_command(name))


def run_command(name: str) -> None:
    """Run a command; refuse an unknown name."""
    if name not in FILES:
        hint = "".join(f" Did you mean {close}?" for close in difflib.get_close_matches(name, NAMES, n=1))
        raise UserError(f"There is no command {name}.{hint} Known commands: {' '.join(NAMES)}.")
    importlib.import_module(f"tlkeras.commands.{FILES[name].stem}").main()


if __name__ == "__main__":
    main()
