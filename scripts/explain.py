"""The same as `tlkeras explain`; see `tlkeras/commands/explain.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.explain import main

if __name__ == "__main__":
    run_main(main)
