"""Options in YAML files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tlkeras.config.old_names import with_new_names
from tlkeras.errors import UserError, unknown_option


def read_config_file(path: str, names: Sequence[str]) -> dict[str, Any]:
    """Return the options in a YAML file by their names with underscores; names of earlier versions are translated.

    Raises:
        UserError: there is no such file, it is not a YAML mapping, or it has an option that is not among `names`.
    """
    hint = "Give a YAML file of options, such as a run's config.yaml or what --print_config prints"
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}. {hint}.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"; line {mark.line + 1} is wrong" if mark else ""
        raise UserError(f"--config {path} is not YAML{line}. {hint}.") from None
    if not isinstance(values, dict):
        raise UserError(f"--config {path} holds no options. {hint}, with lines such as 'batch_size: 16'.")
    values = with_new_names({str(name).replace("-", "_"): value for name, value in values.items()})
    for name in values:
        if name not in names:
            raise UserError(unknown_option(name, names, f" in {path}"))
    return values
