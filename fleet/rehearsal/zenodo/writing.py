"""The requests that change something: drafts, their files, reviews, publishing."""

from collections.abc import Callable

from fleet.rehearsal.exchange import Answer
from fleet.rehearsal.zenodo import shapes
from fleet.rehearsal.zenodo.call import Call, nothing, said
from fleet.rehearsal.zenodo.state import Review


def create(call: Call) -> Answer:
    """Create a draft."""
    return said(201, call.saved(*call.records.create(call.user, call.json())))


def update(call: Call) -> Answer:
    """Replace a draft's metadata."""
    return said(200, call.saved(*call.records.update(call.user, call.id, call.json())))


def discard(call: Call) -> Answer:
    """Discard a draft."""
    call.records.discard(call.user, call.id)
    return nothing()


def reserve(call: Call) -> Answer:
    """Reserve a draft's DOI."""
    return said(201, call.shaped(call.records.reserve(call.user, call.id)))


def unreserve(call: Call) -> Answer:
    """Give a draft's DOI back."""
    call.records.unreserve(call.user, call.id)
    return nothing()


def publish(call: Call) -> Answer:
    """Publish a draft."""
    return said(202, call.shaped(call.records.publish(call.user, call.id)))


def new_version(call: Call) -> Answer:
    """Make or find the draft of the next version."""
    return said(201, call.shaped(call.records.new_version(call.user, call.id)))


def start_files(call: Call) -> Answer:
    """Name the files to come."""
    record = call.files.start(call.user, call.id, call.json())
    return said(201, shapes.files(call.url, record))


def put_content(call: Call) -> Answer:
    """Take in a file's content."""
    record, file, taken = call.files.put(call.user, call.id, call.key, call.asked.body)
    body = shapes.file(call.url, record, file)
    return said(200, body if taken else {**body, "errors": "File upload transfer failed."})


def commit(call: Call) -> Answer:
    """Declare a file whole."""
    record, file = call.files.commit(call.user, call.id, call.key)
    return said(200, shapes.file(call.url, record, file))


def delete_file(call: Call) -> Answer:
    """Take a file out of a draft."""
    call.files.delete(call.user, call.id, call.key)
    return nothing()


def link_files(call: Call) -> Answer:
    """Link the files of the latest version."""
    record = call.files.link(call.user, call.id)
    return said(201, shapes.files(call.url, record))


def put_review(call: Call) -> Answer:
    """Ask a community for a draft."""
    return _review(call, 200, call.reviews.put(call.user, call.id, call.json()))


def delete_review(call: Call) -> Answer:
    """Ask no community any more."""
    call.reviews.delete(call.user, call.id)
    return nothing()


def submit_review(call: Call) -> Answer:
    """Submit a draft to the community that is asked."""
    return _review(call, 202, call.reviews.submit(call.user, call.id, call.json()))


def act(call: Call) -> Answer:
    """Accept, decline or cancel a review."""
    review = call.reviews.act(call.user, call.id, call.names["action"])
    return _review(call, 200, review)


def _review(call: Call, status: int, review: Review) -> Answer:
    return said(status, shapes.review(call.url, review))


# What locks by itself, because it reads the body first.
UNLOCKED = {put_content}
ROUTES: dict[tuple[str, str], Callable[[Call], Answer]] = {
    ("POST", "api/records"): create,
    ("PUT", "api/records/:id/draft"): update,
    ("DELETE", "api/records/:id/draft"): discard,
    ("POST", "api/records/:id/draft/pids/doi"): reserve,
    ("DELETE", "api/records/:id/draft/pids/doi"): unreserve,
    ("POST", "api/records/:id/draft/actions/publish"): publish,
    ("POST", "api/records/:id/versions"): new_version,
    ("POST", "api/records/:id/draft/files"): start_files,
    ("PUT", "api/records/:id/draft/files/:key/content"): put_content,
    ("POST", "api/records/:id/draft/files/:key/commit"): commit,
    ("DELETE", "api/records/:id/draft/files/:key"): delete_file,
    ("POST", "api/records/:id/draft/actions/files-import"): link_files,
    ("PUT", "api/records/:id/draft/review"): put_review,
    ("DELETE", "api/records/:id/draft/review"): delete_review,
    ("POST", "api/records/:id/draft/actions/submit-review"): submit_review,
    ("POST", "api/requests/:id/actions/:action"): act,
}
