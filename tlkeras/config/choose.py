"""Options of the choice of a backbone, and of the search of options."""

import re
from dataclasses import dataclass, fields
from importlib.util import find_spec

from tlkeras.config.data import DataOptions
from tlkeras.config.fields import check_values, option
from tlkeras.config.run import EvaluationOptions
from tlkeras.config.train import ModelOptions, TrainConfig, TrainingOptions
from tlkeras.errors import UserError

CANDIDATES = "MobileNetV2,MobileNetV3Large,EfficientNetV2B0,ResNet50,DenseNet121,ConvNeXtTiny"


@dataclass(kw_only=True, repr=False)
class ChooseConfig(EvaluationOptions, TrainingOptions, ModelOptions, DataOptions):
    """All options of `scripts/choose.py`: those of a training run hold for every candidate, and stay in the config."""

    backbones: str = option(
        CANDIDATES, "names of the candidates, separated by commas; one may carry an image size: MobileNetV2@160"
    )
    budget: float | None = option(None, "minutes that all of it may take; what does not fit is left out", 0.01, 1e5)
    search: bool = option(False, "search the options of --backbone in place of a choice; needs 'pip install optuna'")
    trials: int = option(40, "trials of a search, those of all its processes together", 1, 10**6)
    # [part: cluster]
    cluster: str | None = option(
        None, "trials on a Ray cluster at HOST:PORT, or on N parts of this machine: local:N; needs 'pip install ray'"
    )
    # [/part]
    output: str | None = option(None, "folder of the results (default: saved_models/choice-DATA, or search-DATA)")
    json: bool = option(False, "print JSON")

    def check(self) -> None:
        """Refuse what a training run refuses, and what leaves nothing to compare."""
        check_values(self)
        self.training().check()
        if self.task in ("regression", "multi_label"):
            raise UserError(f"The task was {self.task}; a choice compares accuracies, so give one class each.")
        if "auto" in (self.resize, self.batch_norm):
            raise UserError(
                "--resize or --batch-norm was auto; give what holds for all candidates, such as crop, pad or squash."
            )
        if self.search and "," in self.backbone:
            raise UserError(f"--backbone was {self.backbone}; a search is of one backbone. Choose first.")
        if self.search and self.backbones != CANDIDATES:
            raise UserError("Both --search and --backbones were given; choose first, then search with --backbone NAME.")
        # [part: cluster]
        from tlkeras.config.cluster import check_cluster

        check_cluster(self.cluster)
        if self.cluster and not self.search:
            raise UserError("--cluster was given without --search; a choice runs here. Leave it out.")
        # [/part]
        if self.search and find_spec("optuna") is None:
            raise UserError("--search needs Optuna, which is not installed: pip install optuna.")

    def training(self) -> TrainConfig:
        """Return those options that a training run has too."""
        of_search = {"cluster", "cluster_training"}
        known = {entry.name for entry in fields(TrainConfig)} - of_search
        return TrainConfig(**{entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name in known})

    def candidates(self) -> list[tuple[str, str, int | None]]:
        """Return what was given for each candidate, its backbone, and its image size in pixels, if it has its own."""
        names = list(dict.fromkeys(name.strip() for name in self.backbones.split(",") if name.strip()))
        if not names:
            raise UserError(f"--backbones was {self.backbones or 'empty'}; give names such as MobileNetV2,ResNet50.")
        found = []
        for name in names:
            sized = re.fullmatch(r"(.+)@(\d+)", name)
            found.append((name, sized[1], int(sized[2])) if sized else (name, name, self.image_size))
        return found
