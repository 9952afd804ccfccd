"""What earlier versions called options and modalities, in the configs, runs and models that they wrote."""

from typing import Any

NEW_NAMES = {
    "frozen_rate": "head_learning_rate",
    "finetune_rate": "finetune_learning_rate",
    "rate": "learning_rate",
    "stage_decay": "layer_decay",
    "validation_share": "validation_split",
    "test_share": "test_split",
    "hidden": "hidden_units",
    "tokens": "sequence_length",
    "colour": "color_jitter",
    "crop": "min_crop_area",
    "memory": "memory_gb",
    "cache_disk": "cache_gb",
    "average": "ema",
    "about": "data_description",
    "percents": "train_sizes",
    "scratch_epochs": "all_layers_epochs",
    "scratch_steps": "all_layers_steps",
}
MODALITIES = {"pictures": "image", "texts": "text", "sounds": "audio", "sound": "audio"}


def with_new_names(options: dict[str, Any]) -> dict[str, Any]:
    """Return options by today's names; what has one already keeps it."""
    return {NEW_NAMES.get(name, name): value for name, value in options.items()}
