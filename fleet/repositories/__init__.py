"""Publishing versions in repositories; done at the centre alone, since a DOI is for ever."""

from fleet.repositories.deposit import Deposit, Memory, urn
from fleet.repositories.describe import Creator, Description, Licence, Text
from fleet.repositories.publisher import Publisher

__all__ = [
    "Creator",
    "Deposit",
    "Description",
    "Licence",
    "Memory",
    "Publisher",
    "Text",
    "urn",
]
