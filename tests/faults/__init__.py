"""Generated faults of every input, and one judge of what the commands make of them: `make faults`."""
