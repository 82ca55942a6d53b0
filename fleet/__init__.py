"""Fleet keeps open data alive: the centre, which knows what should be where, and why."""

__version__ = "0.1.0"
