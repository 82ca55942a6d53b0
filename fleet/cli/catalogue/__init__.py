"""`fleet catalogue …`: the catalogue as anyone can sync it, and the keys that sign it."""
