"""The HTTP interface: translate, call the ledger once, translate back.

It knows methods, paths, media types and status codes. It decides nothing about buyers.
"""
