"""Measure what transfer gains on your own pictures: the pretrained model against the same one from random weights, at
several sizes of the training set."""

from tlkeras.config import LearningCurveConfig
from tlkeras.cli import parse_config, run_main
from tlkeras.run.learning_curve import learning_curve


def main() -> None:
    learning_curve(parse_config(LearningCurveConfig, __doc__))


if __name__ == "__main__":
    run_main(main)
