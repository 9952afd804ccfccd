"""The backbone table, and the stages of one backbone, as text."""

from tlkeras.backbones import BACKBONES, Backbone, find_backbone
from tlkeras.startup import load_tensorflow


def backbone_table() -> str:
    """All rows: name, weights, image sizes, stages."""
    lines = [f"{'backbone':<20} {'parameters':>12} {'size':>5} {'least':>6}  stages (phase 2 unfreezes from *)"]
    for row in BACKBONES.values():
        stages = [stage.name + ("*" if stage.name == row.finetune_from else "") for stage in row.stages]
        if len(stages) > 8:
            stages = [stages[0], stages[1], "…", *stages[-6:]]
        lines.append(
            f"{row.name:<20} {row.parameters:>12,} {row.default_size:>5} {row.least_size:>6}  {' '.join(stages)}"
        )
    return "\n".join(lines)


def stage_table(backbone: str) -> str:
    """The stages of a backbone, read from the real layers, with the weights that learn when each is unfrozen."""
    row = find_backbone(backbone)
    load_tensorflow()
    from tlkeras.models.builders import build_classifier

    return describe_stages(build_classifier(row, 1, weights="none"), row)


def describe_stages(model, row: Backbone) -> str:
    """A line for each stage: its first layer, layers, weights, and the weights that learn from it upwards."""
    from tlkeras.models.freezing import backbone_of, count_weights, first_unfrozen, set_trainable

    backbone = backbone_of(model)
    head = set_trainable(model, "none").trainable
    starts = [first_unfrozen(backbone, stage.name) for stage in row.stages] + [len(backbone.layers)]
    lines = [f"{'stage':<12} {'first layer':<36} {'layers':>6} {'weights':>12} {'learn from here up':>20}"]
    for stage, start, end in zip(row.stages, starts, starts[1:], strict=False):
        layers = backbone.layers[start:end]
        weights = sum(count_weights(layer.weights) for layer in layers)
        learn = set_trainable(model, stage.name).trainable - head
        mark = "*" if stage.name == row.finetune_from else ""
        lines.append(f"{stage.name + mark:<12} {layers[0].name:<36} {len(layers):>6} {weights:>12,} {learn:>20,}")
    lines.append(f"Phase 2 unfreezes from * by default; {backbone.count_params():,} weights in all.")
    return "\n".join(lines)
