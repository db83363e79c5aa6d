"""Who speaks: platforms, their keys and tokens, and the blinded identifiers that they name."""
