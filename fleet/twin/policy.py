"""Policies that can be compared: what rules ask for, and how a fleet goes about it."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fleet.control.errors import RefusedError
from fleet.control.rules import SPREADS, RuleSpec


class Policy(BaseModel):
    """One policy.

    ``windows``: bulk traffic waits for each site's quiet hours.  ``repairs_first``: what lacks
    copies goes before what is new; without it all wait in the order they were asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    copies: Annotated[int, Field(ge=1)] = 3
    min: Annotated[int, Field(ge=1)] = 1
    spread_by: tuple[str, ...] = ("provider",)
    windows: bool = True
    repairs_first: bool = True
    fixity_days: Annotated[float, Field(gt=0)] = 90.0

    @model_validator(mode="after")
    def _sound(self) -> "Policy":
        if self.min > self.copies:
            raise ValueError(f"min {self.min} is more than copies {self.copies}")
        for name in self.spread_by:
            if name not in SPREADS:
                raise ValueError(f"cannot spread by {name!r}, only by {', '.join(SPREADS)}")
        return self

    def rule(self) -> RuleSpec:
        """Return the rule that each dataset is given."""
        return RuleSpec(copies=self.copies, min=self.min, spread_by=self.spread_by)


DEFAULT = Policy(name="default")
NAIVE = Policy(name="naive", spread_by=(), windows=False, repairs_first=False)
_NAMED = {policy.name: policy for policy in (DEFAULT, NAIVE)}


def read(name: str) -> Policy:
    """Return the policy called ``name``, or the one in the TOML file of that path.

    Raises:
        RefusedError: there is none, or it cannot be read; the message names the field.
    """
    if name in _NAMED:
        return _NAMED[name]
    path = Path(name)
    if path.suffix != ".toml":
        known = " or ".join(_NAMED)
        raise RefusedError(f"there is no policy {name!r}: say {known}, or name a .toml file")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return Policy.model_validate({"name": path.stem} | data)
    except OSError as error:
        raise RefusedError(f"policy {name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RefusedError(f"policy {name}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "policy"
        raise RefusedError(f"policy {name}: {where}: {first['msg']}") from error
