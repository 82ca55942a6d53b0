"""What can go wrong with a repository; every message names the record, the step, what to do."""


class RepositoryError(Exception):
    """It cannot be done now.

    Attributes:
        final: trying again cannot help before a person did something.
        wait: seconds after which to try again; 0 where nobody said.
    """

    final = False

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Unsure(RepositoryError):
    """Whether it was done is not known: read what is before asking again."""


class Busy(RepositoryError):
    """There is longer to wait than this run has time; ``wait`` says how long."""


class Waiting(RepositoryError):
    """A person at the repository has to answer first."""


class Refused(RepositoryError):
    """The repository does not do it; nothing was changed."""

    final = True

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class Unfit(RepositoryError):
    """What is wanted cannot be put there as it is, or somebody else's work is in its place."""

    final = True


class Gone(Unfit):
    """What was remembered is there no more."""


class Corrupt(RepositoryError):
    """There are other bytes than there should be."""

    final = True
