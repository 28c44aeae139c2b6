"""`meterhouse export`: marts as files for other tools."""
