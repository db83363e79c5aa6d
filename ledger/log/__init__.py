"""How statements are kept: entries, tree, signed checkpoints, receipts. Standard library and
cryptography only, so that a member can vendor this package to verify us without us.
"""
