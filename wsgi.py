"""The server's door: load settings, open the ledger, build the application."""

from api.app import create_app
from config.settings import load_environment, read_config
from ledger.ledger import open_ledger, parse_keys
from ledger.rights.jurisdiction import parse_profiles

settings = load_environment()
keys = parse_keys(
    log_key=settings.log_key,
    event_key=settings.event_key,
    access_key=settings.access_key,
    wrap_key=settings.wrap_key,
    index_key=settings.index_key,
    tag_key=settings.tag_key,
)
profiles = parse_profiles(read_config("jurisdictions.toml"))
ledger = open_ledger(settings.database_url, keys, profiles)
application = create_app(
    ledger, public_url=settings.public_url, body_max_bytes=settings.body_max_bytes
)
