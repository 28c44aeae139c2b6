"""A run: opens the selected sources, loads them, builds the models, and records what happened."""
