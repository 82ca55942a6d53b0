"""The demo's two origins, as a process, and the list of what they offer.

Origin A is steady but slow; origin B is fast and fails about one request in ten.  Run it with
``python -m fleet.cli.demo.origins --folder F --port-file P [--rate MB_PER_SECOND] [--seed N]``:
once both listen, the port file holds ``{"a": URL, "b": URL}``.  SIGTERM and SIGINT end it.
"""

import json
import signal
import sys
import threading
from pathlib import Path
from urllib.parse import quote

from fleet.cli.demo.origin import OLD, Origin
from fleet.cli.demo.paths import PROFILE

SLOW_MB_PER_SECOND = 60.0
SEED = 1


def write_list(folder: Path, base_a: str, base_b: str, to: Path) -> None:
    """Write an aria2 input file with every file of ``folder``.

    Each has two alternates, with A and B first by turns, and an ``out`` that keeps its folders.
    One is offered under an old address only, which is redirected.

    Args:
        folder: what the origins serve.
        base_a: URL of origin A, without a slash at the end.
        base_b: URL of origin B, likewise.
        to: the list; it must lie outside ``folder``.
    """
    lines = ["# Census of Population 2021, made up for a demo", "# Recensement de 2021, inventé"]
    files = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    section = ""
    for number, path in enumerate(files):
        if (parent := path.rpartition("/")[0]) != section:
            section = parent
            lines += ["", f"# {section}"]
        bases = (base_a, base_b) if number % 2 else (base_b, base_a)
        urls = [f"{base}/{quote(path)}" for base in bases]
        if path == PROFILE:
            urls = [f"{base_a}{OLD}{quote(path)}"]
        lines += ["\t".join(urls), f"  out={path}"]
    to.write_text("\n".join(lines) + "\n", encoding="utf-8")


def serve(folder: Path, port_file: Path, *, rate: float, seed: int) -> None:
    """Serve ``folder`` from both origins until SIGTERM or SIGINT."""
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before the threads, which inherit it
    port_file.unlink(missing_ok=True)
    origins = {
        "a": Origin(folder, megabytes_per_second=rate),
        "b": Origin(folder, seed=seed),
    }
    for origin in origins.values():
        threading.Thread(target=origin.serve_forever, daemon=True).start()
    draft = port_file.with_name(port_file.name + ".new")
    draft.write_text(json.dumps({name: origin.url for name, origin in origins.items()}))
    draft.replace(port_file)
    signal.sigwait(ends)


def main(argv: list[str]) -> None:
    """Read the options, and serve."""
    options = dict(zip(argv[::2], argv[1::2], strict=True))
    serve(
        Path(options["--folder"]),
        Path(options["--port-file"]),
        rate=float(options.get("--rate", SLOW_MB_PER_SECOND)),
        seed=int(options.get("--seed", SEED)),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
