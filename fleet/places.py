"""Where the sites lie that have no worker: one kind of place for each driver that writes them.

A sites file says it under ``store``, and a grant tells it to whoever works for the site.  What
opens a place is a secret and not in it.
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

_NAME: Final = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
Address = Annotated[str, Field(pattern=r"^https?://[^/?#@]+$")]


class _Place(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BucketPlace(_Place):
    """A bucket of a service that speaks S3, and what all keys begin with.

    With ``processed`` it serves the latest version of each dataset under bare names.
    """

    driver: Literal["s3"] = "s3"
    endpoint: Address
    bucket: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$")
    prefix: str = Field("", pattern=rf"^({_NAME}(/{_NAME})*)?$")
    region: str = "auto"
    processed: bool = False

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where its provider's budget is spent."""
        return (self.endpoint,)

    @property
    def reads(self) -> str:
        """Where its files are read; of a bucket only its sites file knows."""
        return ""


class ItemsPlace(_Place):
    """Items of the Internet Archive, and what their names begin with.

    All the world's items share one room of names, so ``prefix`` has to be ours alone.  Files are
    sent to ``endpoint`` and asked for at ``read``.
    """

    driver: Literal["internet-archive"] = "internet-archive"
    endpoint: Address = "https://s3.us.archive.org"
    read: Address = "https://archive.org"
    prefix: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{2,30}$")
    collection: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,99})?$")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where its provider's budget is spent."""
        return (self.endpoint, self.read)

    @property
    def reads(self) -> str:
        """Where its items are read, by their names."""
        return f"{self.read}/download"


class RecordsPlace(_Place):
    """Records of an InvenioRDM repository such as Zenodo, each of one whole version.

    ``community`` is asked to take in a dataset's first record.  ``record`` is in no sites file: a
    grant names by it the draft or record that an order is about.
    """

    driver: Literal["zenodo"] = "zenodo"
    endpoint: Address = "https://zenodo.org"
    community: str = Field("", pattern=r"^([a-z0-9][a-z0-9_-]{0,99})?$")
    record: str = Field("", pattern=r"^[A-Za-z0-9-]{0,64}$")

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where its provider's budget is spent."""
        return (self.endpoint,)

    @property
    def reads(self) -> str:
        """Where its records are read, by their ids."""
        return f"{self.endpoint}/records"


Place = Annotated[BucketPlace | ItemsPlace | RecordsPlace, Field(discriminator="driver")]
