"""How phase 2 treats what it unfreezes, where options say so: stage after stage, or by changes of low rank."""

import keras

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.freezing import ParameterCount, count_params, set_trainable
from tlkeras.models.lora import add_lora
from tlkeras.training.optimizers import stages_above


def start_finetuning(model: keras.Model, unfreeze: str, options: TrainingOptions) -> ParameterCount:
    """Unfreeze for phase 2; refuse options for which there is nothing. The next `set_trainable` ends it."""
    set_trainable(model, unfreeze, batch_norm=options.batch_norm == "train")
    if options.gradual_unfreezing and len(set(stages_above(model).values())) == 1:
        raise UserError(
            f"--gradual-unfreezing opens one stage after the other, and --unfreeze {unfreeze} is a single one. Give a "
            "stage further from the output, see scripts/summary.py, or leave it out."
        )
    if options.lora_rank:
        add_lora(model, options.lora_rank, options.seed)
    return ParameterCount(count_params(model.trainable_weights), count_params(model.weights))
