"""The same as `tlkeras evaluate`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import evaluate

if __name__ == "__main__":
    run_main(evaluate)
