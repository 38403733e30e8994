"""Helpers of the workshop's notebooks.

``task`` has the data and the training, ``exercise`` the checks, ``figures`` and ``controls`` what is
shown. The other modules belong to one notebook each: its examples and its exercises.
"""
