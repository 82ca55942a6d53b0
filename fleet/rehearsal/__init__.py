"""Local stand-ins for outside services; nothing that is tried on them leaves the machine."""
