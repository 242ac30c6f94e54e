"""Every way to localize with a network, by name."""
