"""Exchange with other tools, one module each; imported only when asked for."""
