"""A stand-in for Grafana: enough of its contract for a host to be tested, and it says what it is."""
