"""Settings from the environment, and the data files of policy and law. It knows no ledger."""
