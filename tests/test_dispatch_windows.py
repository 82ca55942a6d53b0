"""What waits for quiet hours, and what does not."""

from pathlib import Path

from fleet.control.rules import RuleSpec
from fleet.settings import CentreSettings
from fleet.store.database import Store
from tests.centre_support import Centre

SITES = ("toronto", "amsterdam", "netcup")
NIGHT = [{"timezone": "UTC", "opens": "00:00", "closes": "06:00"}]


def _with_one_copy_of_three(store: Store, folder: Path) -> Centre:
    centre = Centre(store, folder, CentreSettings(alone_from=1))
    centre.apply_sites(*SITES)
    centre.open_doors()
    centre.mirror("a.bin", rule=RuleSpec(copies=3))
    centre.tick()
    (ingest,) = centre.orders()
    centre.report(ingest)
    centre.describe()
    return centre


def test_a_second_copy_does_not_wait_for_quiet_hours_and_a_third_does(
    store: Store, tmp_path: Path
) -> None:
    centre = _with_one_copy_of_three(store, tmp_path)
    centre.apply_sites(*SITES, windows=NIGHT)  # it is noon
    centre.tick()
    running = centre.transfers(kind="copy", state="announced")
    waiting = centre.transfers(kind="copy", state="waiting")
    assert (len(running), len(waiting)) == (1, 1)
    assert "quiet hours" in waiting[0].reason
    (copy,) = [order for order in centre.orders() if order.task == "pull"]
    centre.report(copy)
    centre.tick()
    assert centre.transfers(kind="copy", state="waiting") == waiting


def test_of_two_copies_left_none_hurries(store: Store, tmp_path: Path) -> None:
    centre = Centre(store, tmp_path, CentreSettings(alone_from=1))
    centre.apply_sites("toronto", "amsterdam")
    centre.open_doors()
    centre.mirror("a.bin", rule=RuleSpec(copies=3))
    centre.work()
    centre.apply_sites(*SITES, windows=NIGHT)
    centre.tick()
    (copy,) = centre.transfers(kind="copy", target_id="netcup")
    assert copy.state == "waiting"
    assert "quiet hours" in copy.reason


def test_of_two_copies_that_run_beside_an_only_good_one_just_one_goes_on(
    store: Store, tmp_path: Path
) -> None:
    centre = _with_one_copy_of_three(store, tmp_path)
    centre.tick()
    copies = [order for order in centre.orders() if order.task == "pull"]
    assert len(copies) == 2
    centre.apply_sites(*SITES, windows=NIGHT)  # it is noon
    for _ in range(3):
        answers = [centre.beat(order).action for order in copies]
        assert sorted(answers) == ["continue", "pause"]
