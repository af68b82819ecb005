"""Malformed inputs of every kind, each with the message that a user must get."""
