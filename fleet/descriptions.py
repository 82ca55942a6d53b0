"""What is said of a dataset, in English and French: for its record, its catalogue and its pages.

An admin writes it in a file, the store keeps it as it was read, and whoever tells of a dataset
reads it from there.  What is not said is left out.
"""

from datetime import date
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Language = Literal["en", "fr"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "fr")
_ORCID: Final = r"^(\d{4}-\d{4}-\d{4}-\d{3}[\dX])?$"
_ROR: Final = r"^(https://ror\.org/0[a-z0-9]{8})?$"
_WEB: Final = r"^(https?://[^\s]+)?$"
Line = Annotated[str, Field(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]
Prose = Annotated[str, Field(max_length=50_000)]
Degrees = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class Title(_Part):
    """One line, in one language or both."""

    en: Line = ""
    fr: Line = ""

    def in_(self, language: Language) -> str:
        """Give it in a language, or in the other where that is lacking."""
        return (self.fr or self.en) if language == "fr" else (self.en or self.fr)


class Summary(_Part):
    """Plain text, in one language or both; empty lines part its paragraphs."""

    en: Prose = ""
    fr: Prose = ""

    def in_(self, language: Language) -> str:
        """Give it in a language, or in the other where that is lacking."""
        return (self.fr or self.en) if language == "fr" else (self.en or self.fr)


class Keywords(_Part):
    """Words to find it by, in each language."""

    en: tuple[Line, ...] = Field((), max_length=100)
    fr: tuple[Line, ...] = Field((), max_length=100)


class Creator(_Part):
    """Who made the data: an organisation, or a person with a ``given`` name.

    ``ror`` is the organisation's (https://ror.org): a person's affiliation.
    """

    name: Line = Field(min_length=1)
    given: Line = ""
    orcid: str = Field("", pattern=_ORCID)
    ror: str = Field("", pattern=_ROR)
    affiliation: Line = ""
    url: str = Field("", pattern=_WEB, max_length=2000)


class Licence(_Part):
    """A licence: an id as SPDX has it, or a title and a URL."""

    id: str = Field("", pattern=r"^[A-Za-z0-9.+-]{0,64}$")
    title: Title = Title()
    url: str = Field("", pattern=_WEB, max_length=2000)


class Extent(_Part):
    """Where and when the data are of; degrees of WGS 84: west, south, east, north."""

    bbox: tuple[Degrees, Degrees, Degrees, Degrees] | None = None
    start: date | None = None
    end: date | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.bbox is not None:
            west, south, east, north = self.bbox
            if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
                raise ValueError("a bbox is west, south, east, north in degrees")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"it ends on {self.end}, before it starts on {self.start}")
        return self


class Description(_Part):
    """All that is said of a dataset."""

    title: Title = Title()
    summary: Summary = Summary()
    creators: tuple[Creator, ...] = Field((), max_length=200)
    publisher: Line = ""
    licence: Licence = Licence()
    keywords: Keywords = Keywords()
    homepage: str = Field("", pattern=_WEB, max_length=2000)
    extent: Extent = Extent()
