"""Referral notes from a grammar: short texts of many clinics, with three tasks and the noise of registries.

Each clinic writes in words of its own, so that clinics are clusters: a network that never saw a clinic does
not know its words. The grammar is small and open; nothing here imitates any real person's record.
"""
