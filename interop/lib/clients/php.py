"""Clients in PHP."""

CLIENTS = ()
