"""One site: does the work, reports what it saw, and knows nothing of the database."""
