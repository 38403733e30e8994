"""Figures of the experiments: from the tables of :mod:`xblcore.experiments` to a figure.

Each takes an empty figure, sets its size by the number of methods, and returns it. Methods are told
apart by where they stand, a row or a panel each, so that sixteen of them need no key. Where several
conditions share a row, colour and marker tell the condition.
"""
