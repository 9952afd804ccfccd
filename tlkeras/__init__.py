"""tlkeras: two-phase transfer learning with Keras Applications backbones.

The names below are what notebooks and scripts need; each is imported when it is first used, so that
`import tlkeras` does not load TensorFlow.
"""

import logging
import os
import sys
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "build_classifier": "tlkeras.models.builders",
    # [part: hub]
    "build_hub_classifier": "tlkeras.models.builders",
    # [/part]
    "build_vgg16": "tlkeras.models.builders",
    "build_resnet50": "tlkeras.models.builders",
    "build_mobilenet_v2": "tlkeras.models.builders",
    "build_inception_v3": "tlkeras.models.builders",
    "get_backbone": "tlkeras.models.introspect",
    "set_trainable": "tlkeras.models.freezing",
    "train_two_phases": "tlkeras.training.two_phase",
    "prepare_data": "tlkeras.data.prepare",
    "split_data": "tlkeras.data.pipeline",
    "load_tensorflow": "tlkeras.runtime",
    "train": "tlkeras.run.train",
    "evaluate": "tlkeras.run.evaluate",
    "predict": "tlkeras.run.predict",
    "DataOptions": "tlkeras.config.train",
    "TrainConfig": "tlkeras.config.train",
    "TrainingOptions": "tlkeras.config.train",
    "digits_folder": "tlkeras.data.digits",
    "SplitData": "tlkeras.data.pipeline",
    "adapt_batch_norm": "tlkeras.models.batch_norm",
    "calibrate_batch_norm": "tlkeras.models.batch_norm",
    "compute_metrics": "tlkeras.evaluation.metrics",
    "per_class_metrics": "tlkeras.evaluation.metrics",
    "plot_history": "tlkeras.evaluation.plots",
    # [part: learning-rate]
    "find_learning_rates": "tlkeras.training.learning_rate",
    "plot_learning_rates": "tlkeras.training.learning_rate",
    # [/part]
    # [part: choose]
    "choose": "tlkeras.run.choose",
    # [/part]
    # [part: explain]
    "explain": "tlkeras.run.explain",
    "class_maps": "tlkeras.evaluation.explain",
    "overlay": "tlkeras.evaluation.explain",
    "sanity_check": "tlkeras.evaluation.explain",
    "deletion_scores": "tlkeras.evaluation.explain",
    # [/part]
    # [part: notebooks]
    "Table": "tlkeras.notebook",
    "image_grid": "tlkeras.notebook",
    # [/part]
    "UserError": "tlkeras.errors",
}
__all__ = sorted(_HOMES)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything loads TensorFlow: no startup logs
if "ipykernel" in sys.modules and not logging.getLogger(__name__).handlers:  # a notebook shows what a script shows
    logging.getLogger(__name__).addHandler(logging.StreamHandler(sys.stdout))
    logging.getLogger(__name__).setLevel(logging.INFO)
    logging.getLogger(__name__).propagate = False  # else lines are repeated once another package adds a handler
    import_module("tlkeras.runtime").load_tensorflow()  # quietly, before another cell imports Keras


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tlkeras' has no attribute {name!r}")
    if _HOMES[name].partition(".")[2].startswith(("models.", "training.", "data.pipeline")):
        import_module("tlkeras.runtime").load_tensorflow()  # quietly; the others do so when they need it
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
