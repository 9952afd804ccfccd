"""The same as `tlkeras learning-curve`; see `tlkeras/commands/learning_curve.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.learning_curve import main

if __name__ == "__main__":
    run_main(main)
