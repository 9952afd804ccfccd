"""Options in YAML files, and what a run's config.yaml holds."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from tlkeras.errors import UserError, unknown_option

GIVEN = "given_in_python"  # names of what a file cannot hold, see `tlkeras.config.extensions`


def read_config_file(path: str, names: Collection[str]) -> dict[str, Any]:
    """Return the options in a YAML file by their names with underscores; refuse those that are not among `names`."""
    hint = "Give a YAML file of options, such as a run's config.yaml or what --print_config prints"
    try:
        values = parse_options(Path(path).read_text(encoding="utf-8"), names)
    except OSError as error:
        raise UserError(f"--config {path} cannot be read: {error.strerror}. {hint}.") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f"; line {mark.line + 1} is wrong" if mark else ""
        raise UserError(f"--config {path} is not YAML{line}. {hint}.") from None
    if not isinstance(values, dict):
        raise UserError(f"--config {path} holds no options. {hint}, with lines such as 'batch_size: 16'.")
    if given := values.pop(GIVEN, None):
        objects = ", ".join(f"{name}={value}" for name, value in given.items())
        print(f"Note: {path} was trained with {objects}, given in Python; this goes without, so give them there again.")
    for name in values:
        if name not in names:
            raise UserError(unknown_option(name, list(names), f" in {path}"))
    return values


def parse_options(text: str, names: Collection[str] = ()) -> Any:
    """Return what a YAML text holds, options by today's names; where all are among `names`, they have them already."""
    values = yaml.safe_load(text)
    if isinstance(values, dict):
        values = {str(name).replace("-", "_"): value for name, value in values.items()}
        # [part: template]
        if not values.keys() <= set(names):
            from tlkeras.config.old_names import with_new_names

            values = with_new_names(values)
        # [/part]
    return values
