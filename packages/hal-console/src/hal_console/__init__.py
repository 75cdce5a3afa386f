"""HAL's console: the product's screen and keyboard are those of the server."""
