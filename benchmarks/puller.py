"""A site's worker without a broker: `python -m benchmarks.puller`, its settings as `FLEET_SITE…`.

For each line of its standard input, an attempt's id, it claims, pulls and reports as the task does.
"""

import sys
from functools import partial

from benchmarks.engine import READY
from fleet.settings import SiteSettings
from workers.tasks import _carry_out, _pulled


def main() -> None:
    """Carry out attempts, one after the other."""
    settings = SiteSettings()
    print(READY, flush=True)
    for line in sys.stdin:
        _carry_out(line.strip(), settings, partial(_pulled, settings))


if __name__ == "__main__":
    main()
