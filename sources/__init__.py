"""The dlt sources of meterhouse: one folder per provider, each importable in any dlt project."""
