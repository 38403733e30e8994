"""The study: settings, networks, training, evaluation, runs and statistics."""
