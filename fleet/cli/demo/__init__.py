"""What `fleet demo` shows: open data made on the spot, and two origins that are not perfect."""
