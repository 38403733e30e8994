"""What the notebooks of the workshop use: a small task in memory, exercises that answer, figures.

``course`` has the data and the training, ``exercise`` the machinery of the checks, ``checks_*`` the
checks of one notebook each, ``figures`` what is drawn.
"""
