"""What no blueprint is made of, in words for the one who asked for it."""


class BlueprintRefused(ValueError):
    """A bundle or manifest cannot be made or read; the message is the reason, in one line."""


def show(name: object) -> str:
    """Return a name fit for a message: one short, printable line."""
    text = str(name)
    short = text if len(text) <= 160 else text[:159] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in short)
