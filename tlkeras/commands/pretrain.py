"""Train all layers of a backbone: from scratch or from other weights, to a weight file and a run."""

from tlkeras.cli import parse_config
from tlkeras.config.pretrain import PretrainConfig


def main() -> None:
    """Run the command."""
    config = parse_config(PretrainConfig, __doc__)
    from tlkeras.run.pretrain import pretrain

    pretrain(config)
