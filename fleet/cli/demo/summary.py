"""What the demo shows at its end: what is where and why, the page to open, the figures."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.cli.demo.story import DATASET, Story
from fleet.cli.text import size
from fleet.control import views


def show(story: Story, console: Console) -> None:
    """Print the end of the story."""
    with story.store.read() as session:
        view = views.dataset(session, DATASET, story.store.now(session))
    console.print(_copies(view))
    console.print(_torrents(view))
    ratio = story.origin_bytes / story.bytes
    console.print(
        f"{len(story.sample)} files, {size(story.bytes)}: every byte at {len(story.tree.sites)} "
        f"sites re-hashed from disk; the origins were asked for {ratio:.3f} times their size; "
        f"BitTorrent brought {size(story.download.bytes_from_peers)} from peers and "
        f"{size(story.download.bytes_from_web_seeds)} from web seeds."
    )
    console.print(
        f"page: {story.tree.page_url}en/datasets/{DATASET}\n"
        f"Flower: {story.tree.flower_url} (user admin, password in {story.tree.admin_token_file})",
        soft_wrap=True,
    )


def _copies(view: views.DatasetView) -> Table:
    table = _table("site", "country", "copies", "held", "why it is there")
    for copy in view.copies:
        state = Text(f"{copy.available}/{copy.shards}", style="green")
        table.add_row(copy.site, copy.country, state, size(copy.bytes), copy.reason)
    return table


def _torrents(view: views.DatasetView) -> Table:
    table = _table("torrent", "files", "size", "infohash (v1)")
    for one in view.torrents:
        table.add_row(one.name.rpartition("/")[2], str(one.files), size(one.size), one.infohash)
    return table


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for title in titles:
        right = title in {"copies", "held", "files", "size"}
        table.add_column(title, justify="right" if right else "left", overflow="fold")
    return table
