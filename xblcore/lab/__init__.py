"""Interactive tools for notebooks: an annotator, refinement by what was marked, an explorer."""
