"""Communities: the first record of a dataset is published by the one that takes it in."""

from collections.abc import Callable

from fleet.invenio.calls import Calls, part
from fleet.invenio.faults import Unfit, Waiting
from fleet.invenio.patience import settled
from fleet.invenio.shapes import Json, Record, text
from fleet.repositories.deposit import Deposit

_OPEN = "submitted"
_DAY = 86_400.0


class Reviews:
    """Asks communities to take in drafts; a curator's own draft is taken in at once."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def passed(self, deposit: Deposit, draft: Record, known: Callable[[str], Record]) -> Record:
        """Give the record, once the community has taken in its draft.

        Raises:
            Waiting: it has not answered yet.
            Unfit: it does not take it in, or there is no such community.
        """
        slug = deposit.community
        doing = f"draft {draft.id}: have the community {slug!r} take it in"
        path = f"/api/records/{part(draft.id)}/draft"

        def read() -> Record | None:
            now = known(draft.id)
            if now.published:
                return now
            status, asked = self._review(path, doing)
            if status == _OPEN:
                raise Waiting(f"{doing}: its curators have not answered yet", wait=_DAY)
            if status not in {"", "created"} and asked == community:
                raise Unfit(
                    f"{doing}: the review is {status}; ask its curators, or name no community"
                )
            return None

        def submit() -> None:
            if self._review(path, doing) != ("created", community):
                body = {"type": "community-submission", "receiver": {"community": community}}
                self._calls.send("PUT", f"{path}/review", doing, dict, body)
            self._calls.send("POST", f"{path}/actions/submit-review", doing, dict)

        community = self._calls.get(f"/api/communities/{part(slug)}", doing, _id)
        if not community:
            raise Unfit(f"{doing}: {self._calls.url} has no such community")
        return settled(self._calls.patience, doing, read, submit)

    def _review(self, path: str, doing: str) -> tuple[str, str]:
        """Give the status of a draft's review and the community that was asked, if there is one."""
        return self._calls.get(f"{path}/review", doing, _status) or ("", "")


def _id(body: Json) -> str:
    return text(body, "id")


def _status(body: Json) -> tuple[str, str]:
    return text(body, "status"), text(body, "receiver", "community")
