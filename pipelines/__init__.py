"""The command line, the run, the SQL models and the sandbox of meterhouse."""
