"""What all tables are made of."""

from typing import Any

from sqlmodel import SQLModel


class Table(SQLModel):
    """A table; it goes by the package's name, as it is imported.

    What a unit of work changed is written table by table, in the order of these full names.  With
    its module in them, moving a table would change in which order rows are inserted and locked.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a table its name before it is mapped."""
        super().__init_subclass__(**options)
        cls.__module__ = __package__
