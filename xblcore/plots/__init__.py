"""Figures: functions that take an ``Axes`` or a ``Figure`` and NumPy or pandas data, and return it.

Titles state the finding, computed from the numbers shown, and name the task and its kind of data
(``original``, ``stand-in`` or ``tiny``): arguments ``task`` and ``data`` where a table does not
have them. A ``Figure`` must be empty; its size is set. They do not import torch themselves.
"""
