"""What commands print for programs: one line of JSON, where `--json` asks for it."""

import json
from datetime import datetime
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def print_json(told: Any) -> None:
    """Print something for programs."""
    typer.echo(json.dumps(told, ensure_ascii=False, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
