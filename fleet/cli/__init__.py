"""The commands: `fleet …`."""
