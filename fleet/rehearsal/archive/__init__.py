"""The Internet Archive: upload by its S3-like API, metadata, and download through a redirect."""
