"""The same as `tlkeras predict`; see `tlkeras/commands/predict.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands.predict import main

if __name__ == "__main__":
    run_main(main)
