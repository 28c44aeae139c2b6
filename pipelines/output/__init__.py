"""What a command prints: progress, summaries and errors for people, JSON objects and log lines for machines."""
