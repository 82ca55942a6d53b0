"""`fleet server`, `fleet up` …: a fleet's processes, a whole fleet, and a made-up one."""

from dataclasses import asdict
from typing import Annotated

import typer

from fleet.cli.programs import Json, print_json

app = typer.Typer()
Site = Annotated[str, typer.Option("--site", help="This site's id.")]


@app.command()
def server() -> None:
    """Run the centre's web server: pages, public API, control API, admin API."""
    from fleet.cli import centre

    centre.run_server()


@app.command()
def scheduler() -> None:
    """Run the scheduler: one leads, others stand by."""
    from fleet.cli import centre

    centre.run_scheduler()


@app.command()
def consumer() -> None:
    """Run the Celery worker of the admin queue: fleet.mirror_dataset and friends."""
    from fleet.cli import centre

    centre.run_consumer()


@app.command()
def worker(site: Site) -> None:
    """Run a site's Celery workers, bulk and light, and send what they spooled."""
    from fleet.cli import node

    node.run_worker(site)


@app.command()
def seeder(site: Site) -> None:
    """Run a site's BitTorrent seeder and its HTTP door for verified files."""
    from fleet.cli import node

    node.run_seeder(site)


@app.command()
def tracker(
    scrape: Annotated[
        bool, typer.Option("--scrape", help="Only show what the one that runs here counts.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the fleet's BitTorrent tracker, which serves the fleet's torrents and no others.

    Its figures are a floor: who does not announce is not counted, and a seed
    of some of the pieces counts as a leecher.
    """
    from fleet.cli import tables
    from fleet.cli import tracker as opentracker

    if not scrape:
        opentracker.run()
        return
    data = [asdict(one) for one in opentracker.figures()]
    if as_json:
        print_json(data)
    else:
        tables.show_figures(data)


@app.command()
def up(
    repositories: Annotated[
        bool,
        typer.Option(
            "--with-test-repositories",
            help="Run a bucket, a Zenodo and an Internet Archive too: no account needed.",
        ),
    ] = False,
) -> None:
    """Run a whole fleet on this machine: broker, centre, Flower and three sites."""
    from fleet.cli.up import run

    run(repositories=repositories)


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave it running until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Mirror a sample dataset through a whole fleet on this machine, and prove every byte."""
    from fleet.cli.demo import run

    raise typer.Exit(run.main(keep=keep, as_json=as_json))


@app.command()
def simulate(
    compare: Annotated[
        tuple[str, str] | None,
        typer.Option(metavar="A B", help="Two policies: default, naive, or a .toml file."),
    ] = None,
    seed: Annotated[int, typer.Option(help="What all chance is drawn from.")] = 1,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Virtual days from 1 January.")] = 365,
    datasets: Annotated[int, typer.Option(min=1, max=100_000, help="That come meanwhile.")] = 1000,
    sites: Annotated[int, typer.Option(min=1, max=200, help="That can hold them.")] = 12,
    as_json: Json = False,
) -> None:
    """Run a virtual year of a made-up fleet, with its faults, under two policies.

    The decisions and the store are the real ones; time, sites and faults are
    not. Without --compare it is the default policy and a naive one, which does
    not spread, repairs in the order of asking and waits for no quiet hours.
    """
    from fleet.cli import simulate as simulation
    from fleet.twin.report import Size

    size = Size(seed=seed, days=days, datasets=datasets, sites=sites)
    simulation.main(size, compare or (), as_json=as_json)
