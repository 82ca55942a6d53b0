"""`fleet get`: a version of a dataset, from all mirrors that the signed catalogue names."""
