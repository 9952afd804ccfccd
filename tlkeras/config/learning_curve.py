"""Options of a learning curve: pretrained against random weights at several sizes of the training set."""

from dataclasses import dataclass

from tlkeras.config.fields import option
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError


@dataclass(kw_only=True, repr=False)
class LearningCurveConfig(TrainConfig):
    """All options of `scripts/learning_curve.py`: those of a training run, and how often to repeat it.

    Where all layers are trained, the recipe is that of `scripts/pretrain.py`; of the options for training, augmentation
    and batch size hold there too, the others for the two phases alone.
    """

    train_sizes: list[int] = option(
        [5, 10, 25, 50, 100], "sizes of the training set, in percent of all images that are not evaluated", 1, 100
    )
    seeds: int = option(5, "runs at each size, each with a subset and initial weights of its own", 2, 1000)
    finetune_epochs: int | None = option(10, "epochs of phase 2; 0: none", 0, 10000)
    finetune_steps: int = option(100, "minimum number of steps of phase 2, as small sizes have few per epoch", 1, 10**7)
    patience: int = option(
        10, "epochs without a better result on the training images after which a phase ends", 1, 10000
    )
    all_layers_epochs: int = option(
        60, "epochs where all layers are trained, from random and from pretrained weights", 1, 100000
    )
    all_layers_steps: int = option(500, "minimum number of steps where all layers are trained", 1, 10**7)

    def check(self) -> None:
        """Refuse what a training run refuses, and what leaves nothing to compare."""
        super().check()
        # [part: cluster]
        if self.cluster:
            raise UserError("--cluster is for a single training, scripts/train.py. Leave it out.")
        # [/part]
        if self.task in ("regression", "multi_label"):
            raise UserError(f"The task was {self.task}; a learning curve compares accuracies, so give one class each.")
        if self.class_weights != "none":
            raise UserError("--class-weights was balanced; training from random weights goes without. Leave it out.")
        # [part: devices]
        if self.devices not in ("auto", 1):
            raise UserError(f"--devices was {self.devices}; a learning curve trains on one device. Leave it out.")
        # [/part]
        if not self.train_sizes:
            raise UserError("--train-sizes was empty; give percentages such as [10,100].")
        if self.weights == "none":
            raise UserError("--weights was none; give the pretrained weights that are to be compared with random ones.")
