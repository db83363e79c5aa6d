"""What a platform installs: signing, reporting, asking, and checking what the ledger answers.

It stands on the pure modules of `ledger` alone, so that a member needs no database. The parts:
`client.Client` for the exchange, `question` for what is asked, `receipt` for offline checks.
"""
