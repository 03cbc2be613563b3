"""Checking what a Lethe service has signed, without the service.

It shares no code with the service: it is written from the description in docs/evidence.md, so that a mistake
in one is not a mistake in both.
"""
