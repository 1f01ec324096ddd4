"""Clients from crates.io."""

CLIENTS = ()
