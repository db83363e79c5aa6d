"""The domain of the Buyer Credit Ledger: signed statements, one log, and what follows from it.

This package imports nothing, so that members can install its pure parts alone.
"""
