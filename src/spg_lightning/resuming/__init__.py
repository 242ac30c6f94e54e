"""A run that was cut off goes on as if it had not been."""
