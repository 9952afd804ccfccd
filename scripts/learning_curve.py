"""The same as `tlkeras learning-curve`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import learning_curve

if __name__ == "__main__":
    run_main(learning_curve)
