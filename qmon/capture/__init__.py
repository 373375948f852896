"""Getting frames out of a VM without ever making it wait."""
