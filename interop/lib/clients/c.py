"""Clients in C."""

CLIENTS = ()
