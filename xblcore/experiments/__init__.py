"""Experiments around the main grid: the same methods under other conditions.

A run is a :class:`Spec`; :mod:`~xblcore.experiments.plans` lists the runs of each experiment,
:func:`~xblcore.experiments.running.run` does one, :mod:`~xblcore.experiments.engine` does many.
"""
