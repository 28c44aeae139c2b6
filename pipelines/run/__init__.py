"""One run: open the sources, load them, load billing, build the models, keep what happened."""
