"""Train all layers of a backbone, from nothing or from other weights, and write weights that --weights takes, and the
model."""

from tlkeras.config import PretrainConfig
from tlkeras.cli import parse_config, run_main
from tlkeras.run.pretrain import pretrain


def main() -> None:
    pretrain(parse_config(PretrainConfig, __doc__))


if __name__ == "__main__":
    run_main(main)
