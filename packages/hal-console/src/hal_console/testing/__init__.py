"""Support for tests. Nothing here runs on a customer's server."""
