"""What outcomes tell about hosts: traffic samples, and moving averages for ranking sources."""

from datetime import datetime

from sqlmodel import Session

from fleet.messages import Outcome, SourceReport
from fleet.store.tables import Observation, SourceScore

_WEIGHT = 0.3  # of the newest sample in the moving averages


def note(session: Session, outcome: Outcome, now: datetime) -> None:
    """Keep an outcome's samples and let them move the scores of their hosts."""
    for source in outcome.sources:
        session.add(
            Observation(
                kind="traffic",
                observer=outcome.site,
                site_id=source.site,
                at=now,
                detail=source.model_dump(mode="json", exclude={"evidence"}),
            )
        )
        _move(session, outcome.site, source, now)


def _move(session: Session, observer: str, source: SourceReport, now: datetime) -> None:
    if not source.requests:
        return
    errors = min(1.0, source.errors / source.requests)
    score = session.get(SourceScore, (observer, source.host))
    if score is None:
        speed = source.bytes / source.seconds if source.seconds > 0 else 0.0
        session.add(
            SourceScore(
                observer_id=observer,
                host=source.host,
                bytes_per_second=speed,
                error_share=errors,
                updated_at=now,
            )
        )
        return
    if source.bytes and source.seconds > 0:
        speed = source.bytes / source.seconds
        score.bytes_per_second += _WEIGHT * (speed - score.bytes_per_second)
    score.error_share += _WEIGHT * (errors - score.error_share)
    score.updated_at = now
