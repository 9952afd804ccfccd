"""Train a classifier on your own images: a pretrained backbone, a new head, two phases."""

from tlkeras.cli import parse_config
from tlkeras.config.train import TrainConfig


def main() -> None:
    """Run the command."""
    config = parse_config(TrainConfig, __doc__)
    from tlkeras.run.folder import command_line
    from tlkeras.run.train import train

    run = train(config)
    # [part: learning-rate]
    if config.find_learning_rates:
        return
    # [/part]
    print(f"Next: {command_line('evaluate', run)}\n      {command_line('predict', run)} PATH...")
