"""The same as `tlkeras train`; see `tlkeras/commands/train.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.train import main

if __name__ == "__main__":
    run_main(main)
