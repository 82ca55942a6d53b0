"""A site's long-lived seeder: one libtorrent session, an HTTP door and a local control socket."""
