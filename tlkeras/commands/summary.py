"""Print the backbone table, or the stages of a backbone or run: layers and parameter counts."""

from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.cli import CliParser
from tlkeras.errors import UserError
from tlkeras.io.archives import check_model_file
from tlkeras.run.load_run import load_model, load_trained_run
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras

STAGES_WIDTH = 37  # of a list of stages, so that a line has 80 characters


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default=None,
        help="a backbone's name, a folder that scripts/train.py wrote, or a .keras file from it",
    )  # fmt: skip
    name = parser.parse_args().name
    print(stage_table(name) if name else backbone_table())


def backbone_table() -> str:
    """Return all backbones: name, weights, image sizes, stages."""
    lines = [f"{'backbone':<21} {'parameters':>11} {'size':>4} {'min':>3} stages (phase 2 unfreezes from *)"]
    for spec in BACKBONES.values():
        stages = marked_stages(spec)
        if len(" ".join(stages)) > STAGES_WIDTH:
            start = next(index for index, name in enumerate(stages) if name.endswith("*"))
            top = stages[start:] if len(stages) - start <= 3 else [stages[start], "…", stages[-1]]
            stages = [stages[0], "…", *top]
        lines.append(
            f"{spec.name:<21} {spec.num_params:>11,} {spec.default_size:>4} {spec.min_size:>3} {' '.join(stages)}"
        )
    return "\n".join(lines)


def marked_stages(spec: BackboneSpec) -> list[str]:
    """Return the names of all stages, with a star at the one that phase 2 unfreezes by default."""
    return [stage.name + "*" * (stage.name == spec.finetune_from) for stage in spec.stages]


def stage_table(name: str) -> str:
    """Return the stages of a backbone, of a run's model or of a `.keras` file; refuse anything else."""
    path = Path(name).expanduser()
    if path.is_dir():
        path = load_trained_run(name).path / "model.keras"
    elif name.endswith(".keras"):
        check_model_file(path)
    elif path.is_file():
        raise UserError(f"{path} holds no model; give a .keras file, a run's folder or a backbone's name.")
    else:
        return describe_spec(get_backbone_spec(name))
    load_tensorflow()
    from tlkeras.models.introspect import backbone_title, get_backbone

    model = load_model(path)
    total, below = model.count_params(), get_backbone(model).count_params()
    counts = f"{total:,} parameters, {below:,} in the backbone and {total - below:,} in the head"
    return f"{path}, {backbone_title(model)}: {counts}\n{describe_stages(model)}"


def describe_spec(spec: BackboneSpec) -> str:
    """Return a line for each stage of a backbone that is built for it, or that its spec tells."""
    if not spec.can_build_untrained:
        spec = spec.resolve()
        lines = [f"{name:<20} {stage.first_layer}"
                 for name, stage in zip(marked_stages(spec), spec.stages, strict=True)]  # fmt: skip
        lines.insert(0, f"{'stage':<20} first layer")
        return "\n".join(
            [*lines, f"Phase 2 unfreezes from *, or all (small images); about {spec.num_params:,} parameters."]
        )
    load_tensorflow()
    from tlkeras.models.builders import build_classifier

    return describe_stages(build_classifier(spec, 2, weights=spec.untrained_weights))


def describe_stages(model: "keras.Model") -> str:
    """Return a line for each stage: its first layer, layers, parameters, and those trainable from it upwards."""
    from tlkeras.models.freezing import count_params, first_trainable_index, set_trainable
    from tlkeras.models.introspect import get_backbone, get_spec

    backbone, spec = get_backbone(model), get_spec(model)
    if not spec.stages:  # a Keras model that was given in Python
        return "It has no named stages: --unfreeze takes the name of a layer, a number of layers, or a fraction."
    head = set_trainable(model, "none").trainable
    starts = [first_trainable_index(model, stage.name) for stage in spec.stages] + [len(backbone.layers)]
    names = marked_stages(spec)
    width = max(len(name) for name in (*names, "stage"))
    room = 40 - width  # so that a line has 80 characters
    lines = [f"{'stage':<{width}} {'first layer':<{room}} layers  parameters trainable from here"]
    for stage, name, start, end in zip(spec.stages, names, starts, starts[1:], strict=False):
        layers = backbone.layers[start:end]
        params = sum(count_params(layer.weights) for layer in layers)
        trainable = set_trainable(model, stage.name).trainable - head
        first = layers[0].name if len(layers[0].name) <= room else f"…{layers[0].name[1 - room :]}"
        lines.append(f"{name:<{width}} {first:<{room}} {len(layers):>6} {params:>11,} {trainable:>19,}")
    lines.append(f"Phase 2 unfreezes from *, or all (small images); {backbone.count_params():,} parameters in all.")
    return "\n".join(lines)
