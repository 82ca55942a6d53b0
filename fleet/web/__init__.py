"""What the centre offers over HTTP: the workers' API, the admin's API, and public pages."""
