"""The resident: it plugs and unplugs."""
