"""Communities, and the reviews by which a draft gets into one.

Documented: https://inveniordm.docs.cern.ch/reference/rest_api_reviews/ and …/rest_api_requests/;
refusals and the inclusion without a review: invenio-rdm-records, ``services/review``.
"""

import uuid
from typing import Any

from fleet.rehearsal.zenodo.records import DENIED, UNKNOWN, Records
from fleet.rehearsal.zenodo.state import Community, Refused, Review, complaint, invalid

SUBMISSION = "community-submission"


class Reviews:
    """What communities there are, and what they were asked."""

    def __init__(self, records: Records) -> None:
        self._all = records
        self.communities: list[Community] = []
        self.requests: dict[str, Review] = {}

    def found(self, slug: str, title: str, curators: frozenset[str] = frozenset()) -> Community:
        """Found a community."""
        community = Community(str(uuid.uuid4()), slug, title, curators)
        self.communities.append(community)
        return community

    def community(self, name: str) -> Community:
        """Give a community by its id or its slug."""
        for community in self.communities:
            if name in {community.id, community.slug}:
                return community
        raise Refused(404, UNKNOWN)

    def of(self, user: str, name: str) -> Review:
        """Give the review of a draft."""
        record = self._all.draft(user, name)
        review = self._all.concepts[record.concept].review
        if review is None:
            raise Refused(404, "Review for draft not found")
        return review

    def put(self, user: str, name: str, data: Any) -> Review:
        """Ask a community for a draft's first version; what was asked before is replaced."""
        record = self._all.draft(user, name)
        concept = self._all.concepts[record.concept]
        if record.index > 1:
            text = "You cannot create a review for a new version of a published record."
            raise Refused(400, text)
        if concept.review and concept.review.open:
            raise Refused(400, "An open review cannot be deleted.")
        community = self._receiver(data)
        now, number = self._all.now(), len(self.requests) + 1
        review = Review(str(uuid.uuid4()), number, community, name, user, now, now)
        self.requests[review.id] = review
        concept.review = review
        return review

    def delete(self, user: str, name: str) -> None:
        """Ask no one any more."""
        review = self.of(user, name)
        if review.open:
            raise Refused(400, "An open review cannot be deleted.")
        self._all.concepts[self._all.records[name].concept].review = None

    def submit(self, user: str, name: str, data: Any) -> Review:
        """Submit a draft that lacks nothing; a curator's own is published at once."""
        review = self.of(user, name)
        self._all.publishable(user, name)
        if review.open:
            raise Refused(400, "The review is open already.")  # assumed
        review.status, review.updated = "submitted", self._all.now()
        wanted = isinstance(data, dict) and data.get("require_review")
        if user in review.community.curators and not wanted:
            self._accept(review)
        return review

    def act(self, user: str, request: str, action: str) -> Review:
        """Let a curator accept or decline, or the owner cancel."""
        review = self.requests.get(request)
        if review is None or action not in {"accept", "decline", "cancel"}:
            raise Refused(404, UNKNOWN)
        may = {review.owner} if action == "cancel" else review.community.curators
        if user not in may:
            raise Refused(403, DENIED)
        if not review.open:
            raise Refused(400, f"Action {action} is not available.")  # assumed text
        if action == "accept":
            self._accept(review)
        else:
            review.status = {"decline": "declined", "cancel": "cancelled"}[action]
        return review

    def _accept(self, review: Review) -> None:
        record = self._all.publishable(review.owner, review.record)
        review.status = "accepted"
        self._all.concepts[record.concept].communities.append(review.community)
        self._all.release(record)

    def _receiver(self, data: Any) -> Community:
        if not isinstance(data, dict) or data.get("type") != SUBMISSION:
            raise invalid(complaint("type", "Invalid review type."))
        receiver = data.get("receiver")
        name = receiver.get("community") if isinstance(receiver, dict) else None
        if not any(community.id == name for community in self.communities):
            raise Refused(400, "The entity does not exist.")  # assumed; a slug is no id here
        return self.community(str(name))
