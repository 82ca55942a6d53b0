"""What is published of all that the fleet holds: versions as STAC Items, in one Parquet file."""
