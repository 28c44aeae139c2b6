"""What all providers share: HTTP, configuration, windows, typed tables and their replacement."""
