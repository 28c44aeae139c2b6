"""From configuration to values: settings, accounts, limits, and errors for unknown settings."""
