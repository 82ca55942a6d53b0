"""What to cite, as each reader wants it: DataCite, schema.org, Croissant, BibTeX, CSL-JSON, prose.

Pure: a ``Work`` is made of a dataset's values, or of what the catalogue tells of it, and each
format is a function of it.
"""
