"""Helpers of the workshop's notebooks.

``task`` has the data and the training, ``exercise`` the checks and ``figures`` the figures. Each of
the other modules is named after the topic of the notebook that introduces its exercises.
"""
