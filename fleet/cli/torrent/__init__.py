"""`fleet torrent …`: torrents for people, of any file or folder; only `adopt` needs a fleet."""
