"""The proof that a host sent wrong bytes: it is kept, and it can only demote."""

from sqlmodel import select

from fleet.messages import Order, SourceReport
from fleet.store.tables import Observation, Replica
from tests.centre_support import Centre

PROOF = "a.csv, bytes 0 to 500: sha256 ab… came, cd… was expected"


def _second_copy(centre: Centre) -> tuple[Order, str]:
    """Mirror one file; give the order of a copy and the site whose replica it reads."""
    centre.mirror("a.csv")
    for _ in range(2):
        centre.tick()
        [order] = centre.orders()
        centre.report(order)
    centre.tick()
    copy = centre.orders()[0]
    site = copy.items[0].sources[0].site
    assert site is not None
    return copy, site


def _evidence(centre: Centre) -> list[Observation]:
    with centre.store.read() as session:
        wanted = Observation.kind == "wrong_bytes"
        return list(session.exec(select(Observation).where(wanted)).all())


def test_wrong_bytes_of_a_fleet_copy_are_kept_and_make_it_suspect(centre: Centre) -> None:
    copy, site = _second_copy(centre)
    report = SourceReport(host=f"{site}.example", site=site, requests=2, evidence=PROOF)

    assert centre.report(copy, sources=(report,)).applied

    [kept] = _evidence(centre)
    assert (kept.observer, kept.site_id, kept.shard_id) == (copy.site, site, copy.shard)
    assert kept.detail == {
        "host": f"{site}.example",
        "attempt": copy.attempt,
        "evidence": PROOF,
    }
    assert centre.replicas()[site] == ["suspect"]
    assert centre.replicas()[copy.site] == ["available"]
    with centre.store.read() as session:
        reasons = session.exec(select(Replica.reason).where(Replica.site_id == site)).all()
    assert f"{copy.site} got wrong bytes of it: {PROOF}" in reasons
    centre.work()
    assert centre.replicas()[site] == ["available"]  # verified where it lies: it was well


def test_wrong_bytes_of_an_origin_are_kept_and_demote_nobody(centre: Centre) -> None:
    copy, site = _second_copy(centre)
    before = centre.replicas()[site]
    report = SourceReport(host="origin.example", requests=1, evidence=PROOF * 1000)

    centre.report(copy, sources=(report, SourceReport(host="other.example")))

    [kept] = _evidence(centre)
    assert kept.site_id is None
    assert kept.detail["evidence"] == (PROOF * 1000)[:2000]
    assert centre.replicas()[site] == before


def test_what_is_sent_again_is_kept_once(centre: Centre) -> None:
    copy, site = _second_copy(centre)
    report = SourceReport(host=f"{site}.example", site=site, evidence=PROOF)

    centre.report(copy, sources=(report,))
    centre.report(copy, sources=(report,))

    assert len(_evidence(centre)) == 1


def test_evidence_of_a_superseded_attempt_counts_as_well(centre: Centre) -> None:
    copy, site = _second_copy(centre)
    centre.advance(11)
    centre.tick()
    centre.orders()
    report = SourceReport(host=f"{site}.example", site=site, evidence=PROOF)

    assert not centre.report(copy, sources=(report,)).applied

    assert len(_evidence(centre)) == 1
    assert centre.replicas()[site] == ["suspect"]


def test_a_site_that_holds_no_such_copy_is_not_touched(centre: Centre) -> None:
    copy, _ = _second_copy(centre)
    names = ("nowhere", copy.site)
    reports = tuple(SourceReport(host="x.example", site=one, evidence=PROOF) for one in names)

    centre.report(copy, sources=reports)

    assert len(_evidence(centre)) == 2
    assert centre.replicas()[copy.site] == ["available"]
