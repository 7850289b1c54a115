"""A class: its submissions collected, graded side by side, recorded so that nothing is lost, and scored."""
