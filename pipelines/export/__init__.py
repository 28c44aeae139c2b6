"""`meterhouse export`: what the models computed, as files for other tools."""
