"""Serve a run or an artifact over HTTP, with a page: /predict, /explain, /metrics."""

from dataclasses import fields
from importlib.util import find_spec
from typing import get_type_hints

from tlkeras.cli import CliParser
from tlkeras.config.fields import check_values
from tlkeras.config.serve import ServeOptions
from tlkeras.errors import UserError

PACKAGES = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart",
            "prometheus_client": "prometheus-client"}  # fmt: skip


def main() -> None:
    """Run the command."""
    parser = CliParser(description=__doc__)
    parser.add_argument("run", metavar="RUN", help="folder that scripts/train.py wrote, or scripts/export.py")
    hints = get_type_hints(ServeOptions)
    for entry in fields(ServeOptions):
        parser.add_field(parser, entry, hints[entry.name])
    given = parser.parse_args().as_dict()
    run, options = given.pop("run"), ServeOptions(**{entry.name: given[entry.name] for entry in fields(ServeOptions)})
    check_values(options)
    if missing := [name for module, name in PACKAGES.items() if not find_spec(module)]:
        raise UserError(f"The service needs {' and '.join(missing)}. Run: pip install 'tlkeras[serve]'")
    from tlkeras.serving.server import serve

    serve(run, options)
