"""Train a classifier on your own pictures, texts or sounds: a pretrained backbone, a new head, two phases."""

from tlkeras.config import TrainConfig
from tlkeras.cli import parse_config, run_main
from tlkeras.run.train import train


def main() -> None:
    train(parse_config(TrainConfig, __doc__))


if __name__ == "__main__":
    run_main(main)
