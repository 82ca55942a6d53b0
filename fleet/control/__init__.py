"""Acts on decisions: loads what they need, has them made, commits what follows."""
