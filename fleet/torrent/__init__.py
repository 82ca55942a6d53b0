"""The BitTorrent v1 format as pure values: bencoding, pieces, metainfo, names and links."""
