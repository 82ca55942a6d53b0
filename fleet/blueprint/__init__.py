"""What made a version: the bundle of its code and environment, and the manifest of its files."""
