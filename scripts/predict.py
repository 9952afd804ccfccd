"""The same as `tlkeras predict`; see `tlkeras/commands.py`, and `--help`."""

from tlkeras.cli import run_main
from tlkeras.commands import predict

if __name__ == "__main__":
    run_main(predict)
