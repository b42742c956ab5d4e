"""Clients that use everything, many at once."""
