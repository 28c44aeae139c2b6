"""The dlt sources of meterhouse: one folder a provider, each importable in any dlt project."""
