"""Clients in Ruby."""

CLIENTS = ()
