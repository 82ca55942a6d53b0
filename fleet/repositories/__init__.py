"""Publishing versions in repositories; done at the centre alone, since a DOI is for ever."""

from fleet.repositories.contents import Contents, Paper, composed
from fleet.repositories.deposit import Deposit, Memory, urn
from fleet.repositories.describe import Creator, Description, Licence, Text
from fleet.repositories.publisher import Publisher

__all__ = [
    "Contents",
    "Creator",
    "Deposit",
    "Description",
    "Licence",
    "Memory",
    "Paper",
    "Publisher",
    "Text",
    "composed",
    "urn",
]
