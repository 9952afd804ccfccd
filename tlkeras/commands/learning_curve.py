"""Measure a learning curve on your own images: pretrained against random weights at several training set sizes."""

from tlkeras.cli import parse_config
from tlkeras.config.learning_curve import LearningCurveConfig


def main() -> None:
    """Run the command."""
    config = parse_config(LearningCurveConfig, __doc__)
    from tlkeras.run.learning_curve import learning_curve

    learning_curve(config)
