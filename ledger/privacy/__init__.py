"""How what is kept is hidden: sealing at rest, and later the blinding of identifiers. Pure."""
