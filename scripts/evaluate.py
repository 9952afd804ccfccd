"""The same as `tlkeras evaluate`; see `tlkeras/commands/evaluate.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.evaluate import main

if __name__ == "__main__":
    run_main(main)
