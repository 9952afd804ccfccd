"""Measure what transfer gains on your own pictures: the pretrained model against the same one from random weights, at
several sizes of the training set."""

from tlkeras.config import GainConfig
from tlkeras.options import parse_config, program
from tlkeras.run.gain import transfer_gain


def main() -> None:
    transfer_gain(parse_config(GainConfig, __doc__))


if __name__ == "__main__":
    program(main)
