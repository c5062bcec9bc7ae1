"""A stand-in for Grafana: enough of its contract to test a host with, and it says what it is."""
