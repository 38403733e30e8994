"""Explore the results: images, masks, CAMs of two methods, metrics, and every run as a dot."""
