"""A strict S3 server, path style: what AWS, R2 and Source Cooperative refuse, it refuses."""
