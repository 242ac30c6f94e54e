"""Keys of a run's config that say how it is made and watched, not which run it is: comparisons of configs leave them out."""

NON_IDENTITY_KEYS = ("debug", "resume", "checkpoint_every_steps", "objective", "launcher", "hydra")
