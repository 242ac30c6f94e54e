"""From a command line to objects: compose, explain mistakes, validate, instantiate, sweep."""
