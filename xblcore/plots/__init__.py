"""Every figure: functions that take axes or a figure and NumPy or pandas data, and return the axes.

No torch here, and nothing of the library but where its files lie and how results are read.
"""
