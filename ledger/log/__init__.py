"""How statements are kept: entries, tree, signed checkpoints, receipts.

Standard library and cryptography only, so that a member can vendor this package and verify the
ledger without it.
"""
