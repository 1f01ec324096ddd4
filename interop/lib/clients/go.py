"""Clients from the Go module proxy."""

CLIENTS = ()
