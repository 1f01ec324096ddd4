"""Clients in Perl."""

CLIENTS = ()
