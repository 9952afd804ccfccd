"""Train a backbone from nothing on a source data set, and write weights that --weights takes."""

from tlkeras.config import PretrainConfig
from tlkeras.options import parse_config, program
from tlkeras.run.pretrain import pretrain


def main() -> None:
    pretrain(parse_config(PretrainConfig, __doc__))


if __name__ == "__main__":
    program(main)
