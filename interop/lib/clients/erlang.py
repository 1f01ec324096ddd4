"""Clients in Erlang."""

CLIENTS = ()
