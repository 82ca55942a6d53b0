"""`fleet torrent …`: torrents for people, on any machine and without a fleet."""
