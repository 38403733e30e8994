"""Helpers of the workshop's notebooks.

``task`` has the data and the training, ``exercise`` the checks and ``figures`` the figures. Each of
the other modules belongs to one notebook: its examples and its exercises.
"""
