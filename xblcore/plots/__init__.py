"""Figures: functions that take an ``Axes`` or a ``Figure`` and NumPy or pandas data, and return it.

Titles state the finding, computed from the numbers shown, and the kind of data. Functions that take
a figure set its size. No torch here.
"""
