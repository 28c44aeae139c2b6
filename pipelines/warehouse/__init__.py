"""Where a run loads to: the destination, who may write to it, and the one way to read from it."""
