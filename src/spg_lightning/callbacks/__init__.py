"""Lightning callbacks: checkpoints to resume from, guards, averaging, progress."""
