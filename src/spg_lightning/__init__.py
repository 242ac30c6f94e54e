"""Self-produced Guidance for weakly supervised object localization."""
