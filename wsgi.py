"""The server's door: load settings, open the ledger, build the application."""

import gc

from api.app import create_app
from config.settings import load_environment, read_config
from ledger.ledger import open_ledger, parse_keys
from ledger.log.witness import parse_witness_policy
from ledger.rights.jurisdiction import parse_profiles

settings = load_environment()
profiles = parse_profiles(read_config("jurisdictions.toml"))
policy = settings.read_witness_policy()
witnesses = None if policy is None else parse_witness_policy(policy)
keys = parse_keys(**settings.require_keys())
ledger = open_ledger(settings.database_url, keys, profiles, witnesses)
public_url = settings.public_url or ledger.issuer
application = create_app(ledger, public_url=public_url, body_max_bytes=settings.body_max_bytes)
gc.set_threshold(100_000, 20, 20)  # a batch's answers live until it is rendered: no rubbish
gc.freeze()  # what is loaded lives as long as the process: no collection need look at it again
